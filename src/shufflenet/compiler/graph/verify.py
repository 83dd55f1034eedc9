"""The rules of a graph. Every pass may rely on them, and is checked against them."""

import math
from functools import singledispatch

import numpy as np

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.integers import addend_factors, has_limits, holds_codes
from shufflenet.compiler.graph.ir import (
    Activate,
    Convolution,
    Copy,
    Dequantize,
    Elementwise,
    GlobalPool,
    Graph,
    LocalResponseNormalization,
    Lookup,
    Operation,
    Pad,
    Pool,
    Port,
    Quantize,
    Resample,
    Softmax,
    View,
    every_window_touches,
    output_size,
)

_CONSTANT_TYPES = ("float16", "float32", "float64", "int8", "int32", "uint8")


def verify(graph: Graph) -> Graph:
    """The graph itself if it keeps the rules of ir.py, else a CompileError that names the operation and its shapes.

    Every name is known, every plane is written once and before it is read, names of operations differ, shapes fit.
    """
    for name, tensor in graph.tensors.items():
        _require(name == tensor.name and min(tensor.shape) > 0, "tensor", repr(name), "is", tensor)
        _require((tensor.dtype == "uint8") == (tensor.quantization is not None), "tensor", repr(name), "is", tensor)
    for name, array in graph.constants.items():
        fits = array.dtype in _CONSTANT_TYPES and not array.flags.writeable
        _require(fits, "constant", repr(name), "is not a read-only array of", *_CONSTANT_TYPES)
    written = {name: np.zeros(tensor.channels, bool) for name, tensor in graph.tensors.items()}
    for port in graph.inputs:
        label = f"input {port.name!r}"
        _check_view(graph, port.view, label)
        _require(port.view == graph.tensors[port.view.tensor].whole, label, "is only a part of", port.view.tensor)
        _require(_fits(graph, port), label, list(port.shape), "does not fit", graph.shape(port.view))
        _require(not holds_codes(graph, port.view), label, "holds codes")
        _write(written, port.view, label)
    names: set[str] = set()
    for operation in graph.operations:
        label = f"{type(operation).__name__} {operation.name!r}"
        _require(operation.name not in names, label, "shares its name with another operation")
        names.add(operation.name)
        for view in operation.inputs:
            _check_view(graph, view, label)
            _require(_all_written(written, view), label, "reads", view, "before all of it is written")
        _check_view(graph, operation.output, label)
        _write(written, operation.output, label)
        _check_shapes(operation, graph, label)
        _check_elements(operation, graph, label)
    inputs = {port.view.tensor for port in graph.inputs}
    for port in graph.outputs:
        label = f"output {port.name!r}"
        _check_view(graph, port.view, label)
        _require(_all_written(written, port.view), label, "is", port.view, "which is not all written")
        _require(port.view.tensor not in inputs, label, "is an input")
        _require(_fits(graph, port), label, list(port.shape), "does not fit", graph.shape(port.view))
        _require(not holds_codes(graph, port.view), label, "holds codes")
    return graph


def _require(holds: bool | np.bool, *message: object) -> None:
    if not holds:
        sentence = " ".join(map(str, message))
        raise CompileError(f"the graph breaks a rule of the compiler (a fault of ours, please report it): {sentence}.")


def _all_written(written: dict[str, np.ndarray], view: View) -> bool:
    return bool(written[view.tensor][list(view.planes)].all())


def _write(written: dict[str, np.ndarray], view: View, label: str) -> None:
    planes = list(view.planes)
    once = len(set(planes)) == len(planes) and not written[view.tensor][planes].any()
    _require(once, label, "writes", view, "a second time")
    written[view.tensor][planes] = True


def _check_view(graph: Graph, view: View, label: str) -> None:
    _require(view.tensor in graph.tensors, label, "uses", repr(view.tensor), "which is no tensor")
    inside = bool(view.planes) and min(view.planes) >= 0 and max(view.planes) < graph.tensors[view.tensor].channels
    _require(inside, label, "uses", view, "of", graph.tensors[view.tensor])


def _fits(graph: Graph, port: Port) -> bool:
    return math.prod(port.shape) == math.prod(graph.shape(port.view))


@singledispatch
def _check_shapes(operation: Operation, graph: Graph, label: str) -> None:
    _require(False, label, "is no operation of the compiler")


@_check_shapes.register
def _(operation: Convolution, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.input)
    out, *out_size = graph.shape(operation.output)
    _require(operation.weight in graph.constants, label, "uses", repr(operation.weight), "which is no constant")
    weight = graph.constants[operation.weight].shape
    groups = operation.groups
    fits = len(weight) == 4 and weight[0] == out and weight[1] * groups == channels and out % groups == 0
    _require(fits, label, "has weights", weight, "in", groups, "groups for", channels, "to", out, "channels")
    if operation.bias is not None:
        bias = graph.constants.get(operation.bias)
        fits = bias is not None and bias.shape == (out,)
        _require(fits, label, "has bias", repr(operation.bias), "for", out, "channels")
    if operation.addend is not None:
        same = graph.shape(operation.addend) == (out, *out_size)
        _require(same, label, "adds", graph.shape(operation.addend), "to", (out, *out_size))
    if operation.weight_scale is not None:
        scale = graph.constants.get(operation.weight_scale)
        fits = scale is not None and scale.shape == (out,)
        _require(fits, label, "has scales of weights", repr(operation.weight_scale), "for", out, "channels")
    window = (weight[2], weight[3]), operation.stride, operation.padding, operation.dilation
    expected = output_size((size[0], size[1]), *window)
    _require(expected == tuple(out_size), label, "makes", size, "into", expected, "not", out_size, "by", window)


@_check_shapes.register
def _(operation: Pool, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.input)
    out, *out_size = graph.shape(operation.output)
    _require(out == channels, label, "makes", channels, "channels into", out)
    window = operation.kernel, operation.stride, operation.padding, operation.dilation
    touches = every_window_touches((size[0], size[1]), (out_size[0], out_size[1]), *window)
    _require(touches, label, "has a window that holds only padding:", size, "to", out_size, "by", window)


@_check_shapes.register
def _(operation: GlobalPool, graph: Graph, label: str) -> None:
    expected = (graph.shape(operation.input)[0], 1, 1)
    found = graph.shape(operation.output)
    _require(found == expected, label, "gives", expected, "not", found)


@_check_shapes.register
def _(operation: Resample, graph: Graph, label: str) -> None:
    channels, height, width = graph.shape(operation.input)
    _require(operation.weight in graph.constants, label, "uses", repr(operation.weight), "which is no constant")
    weight, found = graph.constants[operation.weight].shape, graph.shape(operation.output)
    by_rows = operation.axis == "rows"
    inner, expected = (height, (channels, weight[0], width)) if by_rows else (width, (channels, height, weight[-1]))
    fits = len(weight) == 2 and weight[1 if by_rows else 0] == inner and found == expected
    _require(fits, label, "has weights", weight, "that make", (channels, height, width), "into", found)


@_check_shapes.register
def _(operation: Elementwise, graph: Graph, label: str) -> None:
    left, right, out = (graph.shape(view) for view in (operation.left, operation.right, operation.output))
    addend = out if operation.addend is None else graph.shape(operation.addend)
    fits = left == addend == out and right in (out, (out[0], 1, 1))
    _require(fits, label, "makes", left, "and", right, "and", addend, "into", out)


@_check_shapes.register(Activate)
@_check_shapes.register(LocalResponseNormalization)
@_check_shapes.register(Softmax)
@_check_shapes.register(Quantize)
@_check_shapes.register(Dequantize)
@_check_shapes.register(Lookup)
def _(
    operation: Activate | LocalResponseNormalization | Softmax | Quantize | Dequantize | Lookup,
    graph: Graph,
    label: str,
) -> None:
    before, after = graph.shape(operation.input), graph.shape(operation.output)
    _require(before == after, label, "makes", before, "into", after)


@_check_shapes.register
def _(operation: Pad, graph: Graph, label: str) -> None:
    channels, height, width = graph.shape(operation.input)
    top, left, bottom, right = operation.padding
    expected = channels, height + top + bottom, width + left + right
    found = graph.shape(operation.output)
    _require(found == expected and min(operation.padding) >= 0, label, "gives", expected, "not", found)


@_check_shapes.register
def _(operation: Copy, graph: Graph, label: str) -> None:
    channels, *size = graph.shape(operation.output)
    shapes = [graph.shape(piece) for piece in operation.pieces]
    fits = sum(shape[0] for shape in shapes) == channels and all(list(shape[1:]) == size for shape in shapes)
    _require(fits, label, "makes", shapes, "into", (channels, *size))


def _check_elements(operation: Operation, graph: Graph, label: str) -> None:
    """Whether what is read and written are codes where they have to be, and of one quantization where nothing changes it."""
    made = holds_codes(graph, operation.output)
    read = [holds_codes(graph, view) for view in operation.inputs]
    match operation:
        case Quantize():
            fits = made and not any(read)
        case Dequantize():
            fits = not made and all(read)
        case Lookup():
            table = graph.constants.get(operation.table)
            fits = made and all(read) and table is not None and (table.dtype, table.shape) == (np.uint8, (256,))
        case Convolution() if read[0]:
            fits = _has_integer_constants(operation, graph)
            if fits and operation.addend is not None:
                fits = made and all(read) and addend_factors(graph, operation).fit
        case Resample() if made:
            fits = all(read) and operation.times(graph.constants[operation.weight]) > 0
        case Softmax() | LocalResponseNormalization():
            fits = not made and not any(read)
        case _:
            fits = (not made and not any(read)) or (made and all(read))
    _require(
        fits, label, "makes", _elements(graph, operation.output), "of", *(_elements(graph, v) for v in operation.inputs)
    )
    if not made:
        return
    if isinstance(operation, Activate | Copy | Pad | Resample) or (
        isinstance(operation, Pool | GlobalPool) and operation.kind == "max"
    ):
        of = {graph.tensors[view.tensor].quantization for view in (*operation.inputs, operation.output)}
        _require(len(of) == 1, label, "changes a quantization:", *map(str, of))
    activation = getattr(operation, "activation", None)
    _require(has_limits(activation), label, "makes codes by", activation)
    _require(not isinstance(operation, Elementwise) or operation.addend is None, label, "adds three codes")


def _has_integer_constants(operation: Convolution, graph: Graph) -> bool:
    names = operation.weight, operation.bias
    types = [graph.constants[name].dtype for name in names if name is not None and name in graph.constants]
    return types == [np.int8, np.int32] and operation.weight_scale is not None


def _elements(graph: Graph, view: View) -> str:
    return graph.tensors[view.tensor].dtype
