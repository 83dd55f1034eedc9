"""Which pictures make up which batch, whoever reads them and wherever they begin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shufflenet.training.batches import EpochBatches


@given(
    length=st.integers(1, 60),
    parts=st.sampled_from([(1, 1), (1, 2), (2, 1), (3, 2)]),
    size=st.integers(1, 4),
    first=st.integers(0, 30),
)
def test_batches_hold_each_picture_once_whoever_makes_them(length, parts, size, first):
    accumulation, processes = parts
    batch_size = size * accumulation * processes
    if batch_size > length:
        return

    def order(epoch):
        return np.random.default_rng(epoch).permutation(length)

    def epochs(processes, start):
        """Global batches as sets, over this epoch and the next."""
        batches = []
        for process in range(processes):
            stream = EpochBatches(
                length, batch_size, accumulation=accumulation, order=order, process=process, processes=processes
            )
            stream.seek(start)
            mine = list(stream)
            stream.seek((stream.epoch + 1) * stream.batches_per_epoch)
            batches.append(mine + list(stream))
        joined = [set().union(*parts) for parts in zip(*batches, strict=True)]
        return [set().union(*joined[i : i + accumulation]) for i in range(0, len(joined), accumulation)]

    whole = epochs(1, 0)
    per_epoch = length // batch_size
    assert all(len(batch) == batch_size for batch in whole)
    assert len(set().union(*whole[:per_epoch])) == per_epoch * batch_size
    assert epochs(processes, 0) == whole
    start = first % per_epoch
    assert epochs(processes, start) == whole[start:]
