"""Networks of operations, and checks of the C that is made of them, for the tests of the kernels."""

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, count

import numpy as np

from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import (
    Convolution,
    Graph,
    Port,
    Tensor,
    View,
    output_size,
)
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.plan import make_plan, memory
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES
from shufflenet.compiler.plan.arena import Lifetime
from shufflenet.compiler.plan.steps import Buffer

WIDTHS = {
    "scalar": ["-DLANES=1"],
    "4 lanes": ["-DLANES=4", "-DREGISTERS=16"],
    "4 lanes, 32 registers": ["-DLANES=4", "-DREGISTERS=32"],
    "8 lanes": ["-DLANES=8"],
    "16 lanes": ["-DLANES=16", "-DREGISTERS=32", "-Wno-psabi"],
}


class Net:
    """Operations on inputs of chosen shapes; every result is an output."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph((), (), (), {})
        self.number = count()

    def input(self, channels: int, height: int, width: int) -> View:
        view = self.tensor(channels, height, width)
        port = Port(view.tensor, view, (1, channels, height, width))
        self.graph = replace(self.graph, inputs=(*self.graph.inputs, port))
        return view

    def tensor(self, channels: int, height: int, width: int) -> View:
        name = f"t{next(self.number)}"
        tensors = {**self.graph.tensors, name: Tensor(name, channels, height, width)}
        self.graph = replace(self.graph, tensors=tensors)
        return tensors[name].whole

    def constant(self, *shape: int) -> str:
        name = f"c{next(self.number)}"
        array = self.random.standard_normal(shape).astype(np.float32)
        self.graph = replace(self.graph, constants={**self.graph.constants, name: array})
        return name

    def add(self, operation_type, shape, /, **fields) -> View:
        output = fields.pop("output", None) or self.tensor(*shape)
        operation = operation_type(name=f"op{next(self.number)}", output=output, **fields)
        port = Port(operation.name, output, (1, *shape))
        self.graph = replace(
            self.graph, operations=(*self.graph.operations, operation), outputs=(*self.graph.outputs, port)
        )
        return output

    def convolution(self, view: View, out: int, kernel=(1, 1), groups=1, **fields) -> View:
        channels, *size = self.graph.shape(view)
        window = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1)}
        window |= {key: fields.pop(key) for key in tuple(fields) if key in window}
        shape = (out, *output_size(tuple(size), kernel, **window))
        weight, bias = self.constant(out, channels // groups, *kernel), self.constant(out)
        return self.add(
            Convolution, shape, input=view, weight=weight, bias=bias, groups=groups, **window, **fields
        )  # fmt: skip


def run(graph: Graph, folder, flags, inputs, arena: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Build with gcc, run in `arena`, or in one full of NaN."""
    planned = make_plan(verify(graph))
    source = emit(planned, "net", title="A test", version="0")
    (folder / "net.c").write_text(source.c)
    (folder / "net.h").write_text(source.h)
    command = ["gcc", "-O1", "-std=c11", "-mavx2", "-mfma", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra"]
    command += ["-Werror", *flags, "-shared", "-fPIC", str(folder / "net.c"), "-o", str(folder / "net.so")]
    subprocess.run(command, check=True)
    outputs = [np.full(port.shape, np.nan, np.float32) for port in planned.outputs]
    if arena is None:
        arena = np.full(planned.arena_bytes // 4, np.nan, np.float32)
    arguments = [*(inputs[port.name] for port in planned.inputs), *outputs, arena]
    ctypes.CDLL(str(folder / "net.so")).net_run(*(ctypes.c_void_p(a.ctypes.data) for a in arguments))
    return {port.name: output for port, output in zip(planned.outputs, outputs, strict=True)}


def random_inputs(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {port.name: random.standard_normal(port.shape).astype(np.float32) for port in graph.inputs}


def check_numbers(graph: Graph, folder, flags) -> None:
    """They are those of the interpreter."""
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    for name, value in run(graph, folder, flags, inputs).items():
        np.testing.assert_allclose(
            value, expected[name], rtol=1e-4, atol=2e-5 * np.abs(expected[name]).max(), err_msg=name
        )


def check_what_is_not_finite(graph: Graph, folder, flags) -> None:
    """NaN and infinity in the inputs go where the interpreter has them go."""
    inputs = random_inputs(graph)
    for number, value in enumerate(inputs.values()):
        value.flat[value.size // 3] = (np.nan, np.inf, -np.inf)[number % 3]
    expected = interpret(graph, inputs)
    for name, value in run(graph, folder, flags, inputs).items():
        np.testing.assert_array_equal(np.isnan(value), np.isnan(expected[name]), err_msg=name)
        np.testing.assert_array_equal(np.isinf(value), np.isinf(expected[name]), err_msg=name)


def check_writes(graph: Graph, folder, monkeypatch) -> None:
    """Each tensor and scratch lies in a place of its own here; between them are gaps, where nothing may be written."""
    gap, before = 256, np.float32(0.123)
    places: list[tuple[int, int]] = []

    def place(lifetimes: Sequence[Lifetime]) -> tuple[dict[Buffer, int], int]:
        *starts, end = accumulate((lifetime.size + gap for lifetime in lifetimes), initial=gap)
        places[:] = [(start, start + lifetime.size) for start, lifetime in zip(starts, lifetimes, strict=True)]
        return {lifetime.buffer: start for start, lifetime in zip(starts, lifetimes, strict=True)}, end

    monkeypatch.setattr(memory, "place", place)
    arena = np.full(make_plan(graph).arena_bytes // 4, before)
    run(graph, folder, WIDTHS["16 lanes"], random_inputs(graph), arena)
    aligned = arena[(-arena.ctypes.data % CACHE_LINE_BYTES + memory.MARGIN_BYTES) // 4 :]
    for start, end in places:
        aligned[start // 4 : end // 4] = before
    assert (arena == before).all()
