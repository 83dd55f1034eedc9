"""Networks at random: each is read and simplified, and every stage is held to ONNX Runtime."""

import random

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shufflenet.compiler.graph.ir import Convolution, Copy
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import stages

from ..networks import difference, random_inputs, random_network, run_onnxruntime

SLOW = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def check(model: onnx.ModelProto, seed: int) -> None:
    inputs = random_inputs(model, seed)
    expected = run_onnxruntime(model, inputs)
    for stage, graph in stages(read_onnx(model)):
        found = interpret(graph, inputs)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert difference(found[name], array) < 5e-5, f"{name} after {stage}"
    tensors = {port.view.tensor for port in graph.inputs}
    outputs = {port.view.tensor for port in graph.outputs}
    for operation in graph.operations:
        if isinstance(operation, Copy):
            assert {piece.tensor for piece in operation.pieces} <= tensors, "only the network's input needs a copy"
        if isinstance(operation, Convolution) and operation.groups == 1 and operation.output.tensor not in outputs:
            assert list(operation.input.planes) == sorted(operation.input.planes)


@given(data=st.data())
@settings(SLOW, max_examples=60)
def test_every_stage_keeps_the_meaning(data):
    """What hypothesis chooses, it can make smaller when it fails."""
    check(random_network(lambda options: data.draw(st.sampled_from(options)), seed=0), seed=0)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_every_stage_keeps_the_meaning_of_large_networks(first):
    """Hypothesis keeps to small choices; these are even."""
    for seed in range(first, first + 50):
        check(random_network(random.Random(seed).choice, seed), seed)


@given(seed=st.integers(0, 10**6), place=st.integers(0, 10**6), special=st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(SLOW, max_examples=40)
def test_a_number_that_is_none_spreads_alike_before_and_after(seed, place, special):
    """One NaN or infinity in the input: what is not finite in the output, is so in the same places after every stage."""
    model = random_network(random.Random(seed).choice, seed)
    inputs = random_inputs(model, seed)
    flat = inputs["input"].reshape(-1)
    flat[place % flat.size] = special
    graphs = list(stages(read_onnx(model)))
    expected = interpret(graphs[0][1], inputs)
    for stage, graph in graphs[1:]:
        for name, array in interpret(graph, inputs).items():
            np.testing.assert_array_equal(np.isnan(array), np.isnan(expected[name]), err_msg=f"{name} after {stage}")
            np.testing.assert_array_equal(np.isinf(array), np.isinf(expected[name]), err_msg=f"{name} after {stage}")


def test_same_choices_same_graph():
    for seed in range(20):
        first, second = (
            [str(graph) for _, graph in stages(read_onnx(random_network(random.Random(seed).choice, seed)))]
            for _ in range(2)
        )
        assert first == second
