"""What the plan promises: tiles cover a product once, tensors that live together lie apart, the arena is hardly larger than it must be."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shufflenet import nets
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.arena import Lifetime, lower_bound, place
from shufflenet.compiler.plan.machines import UNITS
from shufflenet.compiler.plan.operands import Buffer
from shufflenet.compiler.plan.tiles import choose_block, choose_tiling, fits
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx


@given(
    rows=st.integers(1, 48),
    pixels=st.integers(2, 700),
    unit=st.sampled_from(sum(UNITS.values(), ())),
    single=st.booleans(),
)
def test_a_tiling_makes_every_number_once(rows, pixels, unit, single):
    tiling = choose_tiling(rows, pixels, unit, single_pixels=single)
    lanes = unit.lanes
    made = np.zeros((rows, -(-pixels // lanes) * lanes), int)
    for t in tiling.tiles:
        assert fits(t.rows, t.vectors, unit)
        assert (t.end_row - t.row) % t.rows == 0
        assert (t.end_vector - t.vector) % t.vectors == 0
        made[t.row : t.end_row, t.vector * lanes : t.end_vector * lanes] += 1
    for t in tiling.pixel_tiles:
        assert fits(t.chains * t.vectors, t.pixels, unit)
        assert (t.end_pixel - t.pixel) % t.pixels == 0
        made[:, t.pixel : t.end_pixel] += 1
    assert (made[:, :pixels] == 1).all()
    assert (made <= 1).all()
    assert single or not tiling.pixel_tiles


@given(rows=st.integers(1, 600), pixels=st.integers(2, 400))
def test_blocks_are_small_enough_to_tile(rows, pixels):
    assert 1 <= choose_block(rows, pixels) <= min(rows, 48)


lifetimes = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=12).map(
    lambda rows: [
        Lifetime(Buffer(str(i)), 16 * size, first, first + long) for i, (size, first, long) in enumerate(rows)
    ]
)


@given(lifetimes)
def test_tensors_that_live_together_lie_apart(tensors):
    offsets, size = place(tensors)
    assert size >= lower_bound(tensors)
    for i, a in enumerate(tensors):
        assert 0 <= offsets[a.buffer] <= size - a.size
        for b in tensors[:i]:
            apart = offsets[a.buffer] + a.size <= offsets[b.buffer] or offsets[b.buffer] + b.size <= offsets[a.buffer]
            assert apart or not a.meets(b)


SAMPLE = (
    "shufflenet_x1_0_g3",
    "shufflenet_x0_25_g8",
    "shufflenet_x2_0_g3_se",
    "mobilenet_x0_5",
    "alexnet",
    "googlenet",
    "pvanet",
    "vgg_like_38m",
    "resnet_like_38m",
    "resnext_like_13m",
)


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.every_size) for name in nets.variants()]
)
def test_the_arena_is_within_a_tenth_of_the_lower_bound(name):
    torch.manual_seed(0)
    plan = make_plan(simplify(read_onnx(to_onnx(Exportable(nets.create(name).eval(), (224, 224))))))
    assert plan.bound_bytes <= plan.arena_bytes <= 1.1 * plan.bound_bytes
