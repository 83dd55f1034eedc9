"""The rules of a graph. Every pass may rely on them, and is checked against them."""

from functools import singledispatch

import numpy as np

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.ir import (
    Activate,
    Convolution,
    Copy,
    Elementwise,
    GlobalPool,
    Graph,
    LocalResponseNormalization,
    Operation,
    Pad,
    Pool,
    Softmax,
    View,
    every_window_touches,
    output_size,
)


def verify(graph: Graph) -> Graph:
    """The graph itself if it keeps the rules of ir.py, else a CompileError that names the operation and its shapes.

    Every name is known, every plane is written once and before it is read, names of operations differ, shapes fit.
    """
    for name, tensor in graph.tensors.items():
        _require(name == tensor.name and min(tensor.shape) > 0, f"tensor {name!r} is {tensor}")
    for name, array in graph.constants.items():
        fits = array.dtype in (np.float32, np.float64) and not array.flags.writeable
        _require(fits, f"constant {name!r} is not a read-only array of floats")
    written: set[tuple[str, int]] = set()
    for port in graph.inputs:
        _check_view(graph, port.view, f"input {port.name!r}")
        whole = port.view == graph.tensors[port.view.tensor].whole
        _require(whole and np.prod(port.shape) == np.prod(graph.shape(port.view)), f"input {port.name!r} is {port}")
        _write(written, port.view, f"input {port.name!r}")
    names: set[str] = set()
    for operation in graph.operations:
        label = f"{type(operation).__name__} {operation.name!r}"
        _require(operation.name not in names, f"{label}: two operations have this name")
        names.add(operation.name)
        for view in operation.inputs:
            _check_view(graph, view, label)
            _require(_planes(view) <= written, f"{label}: {view} is read before all of it is written")
        _check_view(graph, operation.output, label)
        _write(written, operation.output, label)
        _check_shapes(operation, graph, label)
    inputs = {port.view.tensor for port in graph.inputs}
    for port in graph.outputs:
        _check_view(graph, port.view, f"output {port.name!r}")
        _require(_planes(port.view) <= written, f"output {port.name!r}: {port.view} is not all written")
        _require(port.view.tensor not in inputs, f"output {port.name!r} is an input")
        _require(np.prod(port.shape) == np.prod(graph.shape(port.view)), f"output {port.name!r} is {port}")
    return graph


def _require(holds: bool | np.bool, message: str) -> None:
    if not holds:
        raise CompileError(f"the graph breaks a rule of the compiler (a fault of ours, please report it): {message}.")


def _planes(view: View) -> set[tuple[str, int]]:
    return {(view.tensor, plane) for plane in view.planes}


def _write(written: set[tuple[str, int]], view: View, label: str) -> None:
    planes = _planes(view)
    _require(len(planes) == view.channels and not planes & written, f"{label}: {view} is written twice")
    written |= planes


def _check_view(graph: Graph, view: View, label: str) -> None:
    _require(view.tensor in graph.tensors, f"{label}: tensor {view.tensor!r} is not known")
    inside = bool(view.planes) and min(view.planes) >= 0 and max(view.planes) < graph.tensors[view.tensor].channels
    _require(inside, f"{label}: {view} is not within {graph.tensors[view.tensor]}")


@singledispatch
def _check_shapes(operation: Operation, graph: Graph, label: str) -> None:
    _require(False, f"{label}: no operation of the compiler")


@_check_shapes.register
def _(operation: Convolution, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.input)
    out, *out_size = graph.shape(operation.output)
    _require(operation.weight in graph.constants, f"{label}: constant {operation.weight!r} is not known")
    weight = graph.constants[operation.weight].shape
    groups = operation.groups
    fits = len(weight) == 4 and weight[0] == out and weight[1] * groups == channels and out % groups == 0
    _require(fits, f"{label}: weights {weight} in {groups} groups do not fit {channels} to {out} channels")
    if operation.bias is not None:
        bias = graph.constants.get(operation.bias)
        _require(
            bias is not None and bias.shape == (out,), f"{label}: bias {operation.bias!r} does not fit {out} channels"
        )
    if operation.addend is not None:
        same = graph.shape(operation.addend) == (out, *out_size)
        _require(same, f"{label}: addend {graph.shape(operation.addend)} to {(out, *out_size)}")
    window = (weight[2], weight[3]), operation.stride, operation.padding, operation.dilation
    expected = output_size((size[0], size[1]), *window)
    _require(expected == tuple(out_size), f"{label}: {size} gives {expected}, not {out_size}, with {window}")


@_check_shapes.register
def _(operation: Pool, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.input)
    out, *out_size = graph.shape(operation.output)
    _require(out == channels, f"{label}: {channels} to {out} channels")
    window = operation.kernel, operation.stride, operation.padding, operation.dilation
    touches = every_window_touches((size[0], size[1]), (out_size[0], out_size[1]), *window)
    _require(touches, f"{label}: a window {window} of {size} to {out_size} holds only padding")


@_check_shapes.register
def _(operation: GlobalPool, graph: Graph, label: str) -> None:
    expected = (graph.shape(operation.input)[0], 1, 1)
    _require(
        graph.shape(operation.output) == expected, f"{label}: output {graph.shape(operation.output)}, not {expected}"
    )


@_check_shapes.register
def _(operation: Elementwise, graph: Graph, label: str) -> None:
    left, right, out = (graph.shape(view) for view in (operation.left, operation.right, operation.output))
    addend = out if operation.addend is None else graph.shape(operation.addend)
    fits = left == addend == out and right in (out, (out[0], 1, 1))
    _require(fits, f"{label}: {left} and {right} and {addend} to {out}")


@_check_shapes.register(Activate)
@_check_shapes.register(LocalResponseNormalization)
@_check_shapes.register(Softmax)
def _(operation: Activate | LocalResponseNormalization | Softmax, graph: Graph, label: str) -> None:
    before, after = graph.shape(operation.input), graph.shape(operation.output)
    _require(before == after, f"{label}: {before} to {after}")


@_check_shapes.register
def _(operation: Pad, graph: Graph, label: str) -> None:
    channels, height, width = graph.shape(operation.input)
    top, left, bottom, right = operation.padding
    expected = channels, height + top + bottom, width + left + right
    fits = graph.shape(operation.output) == expected and min(operation.padding) >= 0
    _require(fits, f"{label}: output {graph.shape(operation.output)}, not {expected}")


@_check_shapes.register
def _(operation: Copy, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.output)
    shapes = [graph.shape(piece) for piece in operation.pieces]
    fits = sum(shape[0] for shape in shapes) == channels and all(list(shape[1:]) == size for shape in shapes)
    _require(fits, f"{label}: {shapes} to {(channels, *size)}")
