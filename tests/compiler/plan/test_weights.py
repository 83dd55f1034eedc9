"""The weights' bytes: any element, each array at a cache line, and room for the last vectors to read past."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shufflenet.compiler.graph.elements import ELEMENTS
from shufflenet.compiler.plan.weights import SLACK_BYTES, Weights

ARRAYS = st.lists(st.tuples(st.sampled_from(list(ELEMENTS)), st.integers(0, 70)), max_size=6)


@given(ARRAYS)
def test_every_array_is_found_where_it_was_said_to_be(arrays):
    weights = Weights()
    added = []
    for name, count in arrays:
        array = np.arange(count).astype(ELEMENTS[name].dtype)
        added.append((weights.add(array, ELEMENTS[name]), array))
    packed = weights.packed()
    for start, array in added:
        assert start % 64 == 0
        np.testing.assert_array_equal(packed[start : start + array.nbytes].view(array.dtype), array)
    assert not packed[-SLACK_BYTES:].any()
