"""NAME_run_on: the bits of NAME_run, however the tasks are dealt; and no two threads at the same number."""

import ctypes
import random
import subprocess
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from shufflenet.compiler import CSource, Plan
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import RELU, Convolution, Graph
from shufflenet.compiler.plan import make_plan, memory, steps, tasks
from shufflenet.compiler.plan.steps import Strips, WinogradProduct
from shufflenet.compiler.run.build import write_source
from shufflenet.compiler.simplify.halve import halve

from ..kernels import (
    GRAPHS,
    WIDTHS,
    Net,
    convolutions,
    depthwise,
    pools,
    products,
    random_inputs,
    stems,
    units,
    vectors,
)
from ..native import KERNELS, gcc

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, TASK, ctypes.c_void_p)


@pytest.fixture(autouse=True)
def fine(monkeypatch):
    """The steps of these tests, which are small, are dealt in as many tasks as can be."""
    fine = replace(memory.USUAL, task_ns=1e-6, unit_bytes=0, strip_bytes=12_000)
    monkeypatch.setattr(memory, "USUAL", fine)
    monkeypatch.setattr(tasks, "BLOCK_ROWS", 5)
    monkeypatch.setattr(steps, "STEM_ROWS", 1)
    monkeypatch.setattr(steps, "DEALT_ROWS", 4)


def dense() -> Graph:
    """By Winograd's algorithm; a number of the last input is beyond what that takes."""
    net = Net()
    for _ in range(2):
        x = net.input(32, 30, 30)
        net.convolution(x, 32, (3, 3), padding=(1, 1, 1, 1), activation=RELU, addend=x)
        net.convolution(x, 32, (3, 3), padding=(1, 1, 1, 1), groups=2)
    return net.graph


def wide_units() -> Graph:
    """In strips, over their own input. At 24 columns one row, or three, are no whole vectors; two are."""
    net, ends = Net(), []
    for height, width, stride in ((23, 32, 1), (22, 32, 2), (23, 24, 1)):
        x = net.input(12, height, width)
        half = (12, -(-height // stride), width // stride)
        window = {"kernel": (3, 3), "padding": (1, 1, 1, 1), "stride": (stride, stride)}
        y = net.convolution(x, 6, groups=3, activation=RELU).select([0, 2, 4, 1, 3, 5])
        z = net.convolution(y, 6, groups=6, **window)
        addend = x if stride == 1 else None
        ends.append(
            net.add(Convolution, half, input=z, weight=net.constant(12, 6, 1, 1), addend=addend, activation=RELU)
        )
    return replace(net.graph, outputs=tuple(port for port in net.graph.outputs if port.view in ends))


def inputs_of(graph: Graph) -> dict[str, np.ndarray]:
    inputs = random_inputs(graph)
    if len(inputs) == 2 and next(iter(inputs.values())).shape == (1, 32, 30, 30):
        list(inputs.values())[1].flat[3000] = np.inf
    return inputs


def plan_and_source(graph: Graph, folder: Path) -> tuple[Plan, CSource]:
    planned = make_plan(graph)
    source = emit(planned, "net", title="A test", version="0")
    write_source(source, folder)
    return planned, source


def deal(order: random.Random | None, workers: int) -> PARALLEL_FOR:
    """Ranges of one task, or of some, in any order, by any worker; without `order` all at once."""

    @PARALLEL_FOR
    def parallel_for(_context, count, task, data):
        cuts = [0, count]
        if order:
            cuts = sorted({0, count, *(order.randrange(1, count + 1) for _ in range(order.randrange(2 * count)))})
        ranges = list(pairwise(cuts))
        (order or random.Random(0)).shuffle(ranges)
        for first, end in ranges:
            task(data, order.randrange(workers) if order else workers - 1, first, end)

    return parallel_for


# Vectors of 16 lanes reach furthest beyond their tasks; what else a width changes is how products are cut.
WIDE = [products, convolutions, depthwise, vectors, pools, stems, wide_units, dense]
OTHER_TILES = [products, stems, wide_units, dense]


@pytest.mark.parametrize(
    ("make", "width"),
    [*product([*GRAPHS, units, wide_units, dense], ["16 lanes"]), *product(OTHER_TILES, ["4 lanes"])],
    ids=lambda of: str(getattr(of, "__name__", of)),
)
def test_the_bits_are_the_same_however_tasks_are_dealt(make, width, tmp_path):
    graph = make()
    inputs = inputs_of(graph)
    planned, _ = plan_and_source(graph, tmp_path)
    assert any(step.tasks for step in planned.steps)
    gcc("-O1", "-mavx2", "-mfma", *WIDTHS[width], "-shared", "-fPIC", f"{tmp_path}/net.c", "-o", f"{tmp_path}/net.so")
    library = ctypes.CDLL(f"{tmp_path}/net.so")

    def run(function, workers: int, *more) -> list[np.ndarray]:
        outputs = [np.full(port.shape, np.nan, np.float32) for port in planned.outputs]
        arena = np.full((planned.arena_bytes + (workers - 1) * planned.worker_bytes) // 4, np.nan, np.float32)
        arrays = [*(inputs[port.name] for port in planned.inputs), *outputs, arena]
        function(*(ctypes.c_void_p(array.ctypes.data) for array in arrays), *more)
        return outputs

    expected = run(library.net_run, 1)
    for seed, workers in enumerate((1, 2, 3, 16)):
        for order in (None, random.Random(seed)):
            found = run(library.net_run_on, workers, deal(order, workers), None)
            for port, value, right in zip(planned.outputs, found, expected, strict=True):
                np.testing.assert_array_equal(value.view(np.int32), right.view(np.int32), err_msg=port.name)


def test_these_graphs_have_what_they_are_for():
    assert sum(isinstance(step, WinogradProduct) for step in make_plan(dense()).steps) == 4
    planned = [step for step in make_plan(wide_units()).steps if isinstance(step, Strips)]
    assert [step.tasks is not None for step in planned] == [True, True, True]
    assert [{run.left_out for run in step.runs[:-1]} for step in planned] == [{1}, {0}, {1, 2}]
    assert planned[0].expand.output.buffer == planned[0].compress.input.buffer


PROGRAM = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"
#include "threads.h"
int main(void) {{
  static float inputs[{inputs}], expected[{outputs}], found[{outputs}];
  FILE *const file = fopen("inputs", "rb");
  if (fread(inputs, 4, {inputs}, file) != {inputs}) return 2;
  void *const arena = malloc(NET_ARENA_BYTES_FOR({workers}));
  net_run({arguments_expected}, arena);
  static struct threads threads;
  threads_start(&threads, {workers});
  for (int round = 0; round < 3; round++) {{
    memset(found, 0, sizeof found);
    net_run_on({arguments_found}, arena, threads_for, &threads);
    if (memcmp(found, expected, sizeof found)) return 3;
  }}
  threads_stop(&threads);
  return 0;
}}
"""


@pytest.mark.parametrize(
    ("make", "lanes", "element"),
    [
        *product(WIDE, [16], ["float32"]),
        *product(OTHER_TILES, [4], ["float32"]),
        *product((products, depthwise, stems, wide_units), [16], ["float16"]),
    ],
    ids=lambda of: str(getattr(of, "__name__", of)),
)
def test_thread_sanitizer_finds_nothing(make, lanes, element, tmp_path):
    graph = make() if element == "float32" else halve(make(), tensors=True)
    planned, _ = plan_and_source(graph, tmp_path)
    inputs = inputs_of(graph)
    np.concatenate([inputs[port.name].reshape(-1) for port in planned.inputs]).tofile(tmp_path / "inputs")

    def places(name: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], int]:
        sizes = [int(np.prod(shape)) for shape in shapes]
        return [f"{name} + {sum(sizes[:i])}" for i in range(len(sizes))], sum(sizes)

    read, input_floats = places("inputs", [port.shape for port in planned.inputs])
    shapes = [port.shape for port in planned.outputs]
    arguments = {f"arguments_{name}": ", ".join([*read, *places(name, shapes)[0]]) for name in ("expected", "found")}
    output_floats = places("found", shapes)[1]
    (tmp_path / "main.c").write_text(PROGRAM.format(inputs=input_floats, outputs=output_floats, workers=4, **arguments))
    gcc("-O1", "-march=native", f"-DLANES={lanes}", "-g1", "-fsanitize=thread", "-pthread", "-Wno-unused-function", "-std=gnu11",
        f"-I{KERNELS}", f"{tmp_path}/main.c", f"{tmp_path}/net.c", "-o", f"{tmp_path}/program")  # fmt: skip
    done = subprocess.run([f"{tmp_path}/program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
