"""Graphs that exercise each kernel, and how what is compiled of a graph is held against the interpreter."""

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, count
from pathlib import Path

import numpy as np

from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.graph.ir import (
    RELU,
    Activate,
    Activation,
    Convolution,
    Copy,
    Elementwise,
    GlobalPool,
    Graph,
    LocalResponseNormalization,
    Pad,
    Pool,
    Port,
    Resample,
    Softmax,
    Tensor,
    View,
    output_size,
)
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.plan import make_plan, memory
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES
from shufflenet.compiler.plan.arena import Lifetime
from shufflenet.compiler.plan.operands import Buffer
from shufflenet.compiler.run.build import write_source

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
        return self.keep(self.random.standard_normal(shape).astype(np.float32))

    def keep(self, array: np.ndarray) -> str:
        name = f"c{next(self.number)}"
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


def products() -> Graph:
    net = Net()
    for height, width in ((7, 7), (5, 13), (3, 2), (14, 14)):
        x = net.input(30, height, width)
        y = net.convolution(x, 51, groups=3, activation=RELU)
        shuffled = y.select([i % 3 * 17 + i // 3 for i in range(51)])
        z = net.convolution(shuffled, 30, groups=3)
        target = net.tensor(30, height, width)
        net.add(Convolution, (30, height, width), input=z, weight=net.constant(30, 30, 1, 1), addend=x, activation=RELU,
                output=View(target.tensor, tuple(reversed(target.planes))))  # fmt: skip
    wide = net.input(300, 6, 7)
    net.convolution(wide, 100, addend=net.convolution(wide, 100, groups=2))
    return net.graph


def convolutions() -> Graph:
    net = Net()
    x = net.input(4, 13, 11)
    net.convolution(x, 6, (3, 3), padding=(1, 1, 1, 1), activation=RELU)
    net.convolution(x, 6, (5, 3), groups=2, stride=(2, 3), padding=(2, 0, 1, 1))
    y = net.convolution(x, 8, (2, 2), dilation=(3, 2), padding=(0, 3, 2, 0))
    net.convolution(x, 8, (1, 1), stride=(2, 2), groups=4)
    net.convolution(x, 5, (13, 11))
    net.convolution(y, 8, (2, 2), dilation=(3, 2), padding=(2, 1, 1, 1), addend=y)
    deep = net.input(40, 9, 9)
    net.convolution(deep, 17, (3, 3), padding=(1, 1, 1, 1), activation=Activation("leaky_relu", alpha=0.1))
    tall = net.input(2, 70, 67)
    net.convolution(tall, 3, (11, 11), stride=(4, 4), padding=(2, 2, 2, 2))
    return net.graph


def depthwise() -> Graph:
    net = Net()
    sizes = (7, 7), (14, 14), (28, 28), (1, 1), (2, 3), (9, 17), (16, 8), (5, 33), (4, 40)
    for height, width in sizes:
        x = net.input(3, height, width)
        for stride in (1, 2):
            net.convolution(x, 3, (3, 3), groups=3, stride=(stride, stride), padding=(1, 1, 1, 1), activation=RELU)
    x = net.input(4, 12, 15)
    net.convolution(x, 4, (5, 3), groups=4, padding=(2, 0, 2, 2), dilation=(1, 2))
    net.convolution(x, 4, (3, 3), groups=4, stride=(2, 1), addend=None)
    net.convolution(x, 4, groups=4, addend=x)
    return net.graph


def vectors() -> Graph:
    net = Net()
    x = net.input(37, 1, 1)
    y = net.convolution(x, 70, activation=Activation("sigmoid"))
    net.convolution(y.select(range(69, -1, -1)), 33, groups=1)
    net.convolution(y, 14, groups=7, addend=net.convolution(x, 14))
    return net.graph


def pools() -> Graph:
    net = Net()
    for height, width in ((7, 7), (28, 28), (13, 6), (9, 40)):
        x = net.input(3, height, width)
        for kind in ("max", "average"):
            for kernel, stride, padding, dilation in (
                ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
                ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
                ((3, 2), (1, 3), (0, 1, 2, 0), (1, 1)),
                ((2, 2), (1, 1), (1, 1, 1, 1), (2, 2)),
            ):
                out = output_size((height, width), kernel, stride, padding, dilation)
                net.add(Pool, (3, *out), kind=kind, input=x, kernel=kernel, stride=stride, padding=padding,
                        dilation=dilation, counts_padding=height == 7, activation=RELU)  # fmt: skip
            net.add(GlobalPool, (3, 1, 1), kind=kind, input=x)
    x = net.input(2, 6, 8)  # ceil mode: the last windows overhang
    net.add(
        Pool,
        (2, 4, 4),
        kind="average",
        input=x,
        kernel=(3, 3),
        stride=(2, 2),
        padding=(1, 0, 1, 0),
        counts_padding=True,
    )
    net.add(Pool, (2, 3, 4), kind="max", input=x, kernel=(3, 3), stride=(2, 2))
    return net.graph


def stems() -> Graph:
    """With a pool, without, and with both results asked for; 64 columns make 32, which are made in place. Channels in any order."""
    net = Net()
    window = {"stride": (2, 2), "padding": (1, 1, 1, 1)}
    for (height, width), channels, filters in (
        ((32, 32), 3, 12),
        ((33, 45), 1, 5),
        ((71, 98), 4, 24),
        ((5, 3), 3, 6),
        ((9, 64), 3, 7),
    ):
        half, quarter = ((height + 1) // 2, (width + 1) // 2), ((height + 3) // 4, (width + 3) // 4)
        for results in ("pool", "convolution", "both"):
            x = net.input(channels, height, width)
            if results == "both":
                x = x.select([c for c in reversed(range(channels)) if c != 1])
            activation = RELU if channels > 1 else None
            y = net.convolution(x, filters, kernel=(3, 3), activation=activation, **window)
            if results == "pool":
                net.graph = replace(net.graph, outputs=net.graph.outputs[:-1])
            if results != "convolution":
                net.add(Pool, (filters, *quarter), kind="max", input=y, kernel=(3, 3), **window)
            else:
                net.add(Activate, (filters, *half), input=y, activation=Activation("leaky_relu", 0.2, 0.0))
    return net.graph


def simple() -> Graph:
    net = Net()
    for height, width in ((5, 7), (1, 1), (2, 2)):
        x, y, scale = net.input(9, height, width), net.input(9, height, width), net.input(9, 1, 1)
        shape = 9, height, width
        net.add(Elementwise, shape, kind="add", left=x, right=y, activation=RELU)
        net.add(Elementwise, shape, kind="multiply", left=x, right=scale, addend=y)
        kinds = (("clip", -0.5, 0.5), ("leaky_relu", 0.2, 0.0), ("hard_sigmoid", 0.2, 0.5), ("hard_swish", 0.0, 0.0))
        for kind, alpha, beta in (*kinds, ("sigmoid", 0.0, 0.0)):
            net.add(Activate, shape, input=x, activation=Activation(kind, alpha, beta))
        net.add(LocalResponseNormalization, shape, input=x, size=5, alpha=0.7, beta=0.75, bias=1.5)
        net.add(LocalResponseNormalization, shape, input=x, size=2, alpha=0.7, beta=0.3, bias=1.5)
        net.add(Softmax, shape, input=x)
        net.add(Pad, (9, height + 3, width + 2), input=x, padding=(1, 2, 2, 0), value=-1.5)
        net.add(Copy, (12, height, width), pieces=(x.select([8, 1, 1]), y))
    return net.graph


def resampled() -> Graph:
    net = Net()
    for height, width, times in ((5, 7, 2), (1, 1, 2), (2, 32, 2), (3, 17, 3), (4, 9, 1)):
        x = net.input(3, height, width)
        sums = np.tril(net.random.standard_normal((height + 2, height)).astype(np.float32))
        for rows in (np.repeat(np.eye(height, dtype=np.float32), times, axis=0), sums):
            net.add(Resample, (3, len(rows), width), input=x, weight=net.keep(rows), axis="rows")
        for columns in (
            np.repeat(np.eye(width, dtype=np.float32), times, axis=1),
            np.eye(width, width + 1, 1, np.float32),
        ):
            net.add(Resample, (3, height, columns.shape[1]), input=x, weight=net.keep(columns), axis="columns")
    return net.graph


GRAPHS = (products, convolutions, depthwise, vectors, pools, stems, simple, resampled)


_BUILT: dict[tuple[str, ...], Path] = {}


def build(source: CSource, folder: Path, flags: Sequence[str]) -> Path:
    """By gcc in `folder`; or the library that an earlier test of this process built of the same source."""
    key = (source.c, source.h, *flags)
    if key not in _BUILT:
        library = folder / "net.so"
        write_source(source, folder)
        command = ["gcc", "-O1", "-std=c11", "-mavx2", "-mfma", "-ffp-contract=fast", "-fno-math-errno", "-Wall"]
        command += ["-Wextra", "-Werror", *flags, "-shared", "-fPIC", str(folder / "net.c"), "-o", str(library)]
        subprocess.run(command, check=True)
        _BUILT[key] = library
    return _BUILT[key]


def run(graph: Graph, folder, flags, inputs, arena: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Build with gcc, run in `arena`, or in one full of NaN."""
    planned = make_plan(verify(graph))
    library = build(emit(planned, "net", title="A test", version="0"), folder, flags)
    outputs = [np.full(port.shape, np.nan, np.float32) for port in planned.outputs]
    if arena is None:
        arena = np.full(planned.arena_bytes // 4, np.nan, np.float32)
    arguments = [*(inputs[port.name] for port in planned.inputs), *outputs, arena]
    ctypes.CDLL(str(library)).net_run(*(ctypes.c_void_p(a.ctypes.data) for a in arguments))
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


def check_writes(graph: Graph, folder, monkeypatch, flags=tuple(WIDTHS["16 lanes"])) -> None:
    """Each tensor and scratch lies in a place of its own here; between them are gaps, where nothing may be written."""
    gap, before = 256, np.float32(0.123)
    places: list[tuple[int, int]] = []

    def place(lifetimes: Sequence[Lifetime]) -> tuple[dict[Buffer, int], int]:
        *starts, end = accumulate((lifetime.size + gap for lifetime in lifetimes), initial=gap)
        places[:] = [(start, start + lifetime.size) for start, lifetime in zip(starts, lifetimes, strict=True)]
        return {lifetime.buffer: start for start, lifetime in zip(starts, lifetimes, strict=True)}, end

    monkeypatch.setattr(memory, "place", place)
    arena = np.full(make_plan(graph).arena_bytes // 4, before)
    run(graph, folder, flags, random_inputs(graph), arena)
    aligned = arena[(-arena.ctypes.data % CACHE_LINE_BYTES + memory.MARGIN_BYTES) // 4 :]
    for start, end in places:
        aligned[start // 4 : end // 4] = before
    assert (arena == before).all()


WINDOW = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}


def units() -> Graph:
    """Residual units, and units of stride 2 beside their pool. All strips are alike, or the last one is lower, even a single row."""
    net, ends = Net(), []
    for height, width in ((9, 16), (13, 48), (10, 8), (6, 5)):
        x = net.input(12, height, width)
        y = net.convolution(x, 6, groups=3, activation=RELU).select([0, 2, 4, 1, 3, 5])
        z = net.convolution(y, 6, groups=6, **WINDOW).select([5, 4, 3, 2, 1, 0])
        ends.append(net.add(Convolution, (12, height, width), input=z, weight=net.constant(12, 2, 1, 1), groups=3,
                            bias=net.constant(12), addend=x, activation=RELU))  # fmt: skip
    for height, width in ((15, 32), (14, 31), (8, 64)):
        x = net.input(10, height, width)
        half = (height + 1) // 2, (width + 1) // 2
        target = net.tensor(17, *half)
        y = net.convolution(x, 4, activation=Activation("clip", alpha=0, beta=6))
        z = net.convolution(y, 4, groups=4, stride=(2, 2), **WINDOW)
        net.add(
            Convolution,
            (7, *half),
            input=z,
            weight=net.constant(7, 4, 1, 1),
            output=View(target.tensor, tuple(range(10, 17))),
        )
        net.add(Pool, (10, *half), kind="average", input=x, stride=(2, 2), counts_padding=True, activation=RELU,
                output=View(target.tensor, tuple(range(10))), **WINDOW)  # fmt: skip
        ends.append(target)
    outputs = tuple(Port(f"out{i}", view, (1, *net.graph.shape(view))) for i, view in enumerate(ends))
    return replace(net.graph, outputs=outputs)
