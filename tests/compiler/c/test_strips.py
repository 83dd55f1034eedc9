"""Units a strip of rows at a time: their numbers are the interpreter's, every row is made once, nobody else's memory is touched."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shufflenet import nets
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import Convolution
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.plan import make_plan, memory, strips
from shufflenet.compiler.plan.machines import USUAL
from shufflenet.compiler.plan.operands import Chunks, Window
from shufflenet.compiler.plan.steps import Strips
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from ..kernels import WIDTHS, WINDOW, Net, check_numbers, check_what_is_not_finite, check_writes, random_inputs, units
from ..memory import check_memory
from ..native import run_sanitized
from ..networks import difference


@pytest.fixture
def small(monkeypatch):
    """Units of these tests count as large, and their strips are a few rows."""
    monkeypatch.setattr(memory, "USUAL", replace(memory.USUAL, unit_bytes=0, strip_bytes=12_000))


@pytest.mark.parametrize("flags", WIDTHS.values(), ids=list(WIDTHS))
def test_units_in_strips_compute_what_the_interpreter_does(flags, small, tmp_path):
    check_numbers(units(), tmp_path, flags)


def test_all_units_whose_rows_make_whole_vectors_are_in_strips(small):
    planned = [step for step in make_plan(units()).steps if isinstance(step, Strips)]
    heights = [[(run.first, run.end, run.rows) for run in step.runs] for step in planned]
    assert heights == [
        [(0, 5, 5), (5, 9, 4)],
        [(0, 2, 2), (2, 12, 2), (12, 13, 1)],
        [(0, 6, 6), (6, 10, 4)],
        [(0, 2, 2), (2, 6, 2), (6, 8, 2)],
        [(0, 2, 2), (2, 6, 2), (6, 7, 1)],
        [(0, 1, 1), (1, 4, 1)],
    ]
    assert [step.runs[-1].compress == () for step in planned] == [False, True, False, False, False, False]
    assert [step.shortcut is not None for step in planned] == [False] * 3 + [True] * 3


def test_units_in_strips_write_nothing_beside_their_tensors(small, tmp_path, monkeypatch):
    check_writes(units(), tmp_path, monkeypatch)


def test_nan_and_infinity_go_where_they_should_in_strips(small, tmp_path):
    check_what_is_not_finite(units(), tmp_path, WIDTHS["16 lanes"])


@pytest.mark.parametrize("lanes", ["-DLANES=1", "-DLANES=16"])
def test_no_byte_beyond_what_was_promised_is_touched(lanes, small, tmp_path):
    graph = units()
    planned, inputs = make_plan(graph), random_inputs(graph)
    source = emit(planned, "net", title="A test", version="0")
    expected = interpret(graph, inputs)
    for port, output in zip(
        planned.outputs, run_sanitized(source, planned, inputs, tmp_path, "-O0", "-march=native", lanes), strict=True
    ):
        assert difference(output, expected[port.name]) <= 1e-5


def test_a_unit_of_which_more_is_asked_stays_as_it_is(small):
    """What lies between its steps is an output here, or an addend."""
    for more in (0, 1):
        net = Net()
        x = net.input(8, 12, 16)
        y = net.convolution(x, 8)
        z = net.convolution(y, 8, groups=8, **WINDOW)
        net.add(Convolution, (8, 12, 16), input=z, weight=net.constant(8, 8, 1, 1), addend=(x, y)[more])
        graph = replace(net.graph, outputs=net.graph.outputs[more:])
        assert not any(isinstance(step, Strips) for step in make_plan(graph).steps)


def pixels(chunks: tuple[Chunks, ...]) -> list[tuple[int, int]]:
    return [(first, first + chunk.count) for chunk in chunks for first in range(chunk.first, chunk.end, chunk.count)]


@given(
    rows=st.integers(1, 12),
    height=st.integers(3, 60),
    width=st.sampled_from((16, 24, 48, 80)),
    stride=st.sampled_from((1, 2)),
)
def test_every_row_is_made_once_and_before_it_is_read(rows, height, width, stride):
    rows += stride == 1
    half = -(-height // stride), -(-width // stride)
    window = Window(height, width, *half, (3, 3), (stride, stride), (1, 1), (1, 1))
    net = Net()
    x = net.input(4, height, width)
    net.add(Convolution, (4, height, width), input=x, weight=net.constant(4, 4, 1, 1))
    (*_, product) = make_plan(net.graph).steps
    compressed = expanded = 0
    for run_ in strips._runs(product, product, window, rows, USUAL.chunk_bytes):  # pyright: ignore[reportPrivateUsage]
        for first in range(run_.first, run_.end, run_.rows):
            for made in (pixels(run_.compress), pixels(run_.expand)):
                assert all(a[1] == b[0] for a, b in pairwise([(0, 0), *made]))
            assert first == expanded
            compressed += sum(end - start for start, end in pixels(run_.compress)) // width
            expanded += sum(end - start for start, end in pixels(run_.expand)) // window.output_width
            assert expanded == first + run_.rows
            assert compressed == min(stride * (expanded - 1) + 2, height)
    assert (compressed, expanded) == (height, window.output_height)


@pytest.mark.parametrize("name", ["shufflenet_x0_25_g3", "shufflenet_x0_5_g8"])
def test_every_unit_finds_what_the_graph_says(name):
    torch.manual_seed(0)
    graph = simplify(read_onnx(to_onnx(Exportable(nets.create(name).eval(), (128, 256)))))
    planned = make_plan(graph, replace(USUAL, unit_bytes=0))
    assert sum(isinstance(step, Strips) for step in planned.steps) >= 8
    check_memory(graph, planned)
