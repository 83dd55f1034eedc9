"""What a graph computes, in plain numpy: the executable meaning of every operation. Clear, not fast.

Sums are taken in float64 and rounded to the tensor's element, float32 or float16, when it is written: to the nearest, ties to even. A
network's input is rounded so too. A NaN or an infinity goes through as IEEE 754 says.
Kernels round float16 a little more often: the sum of a convolution's products waits as float16 after each 128 of them, and a 3×3
mean that counts its padding multiplies by the float16 next to 1/9. Where arithmetic is in float16 too, every sum of 40 rounds.
On codes (u8 tensors) sums are whole numbers, exact in float64 too, and what is written is exact: kernels give the same bytes.
"""

from collections.abc import Mapping
from functools import singledispatch

import numpy as np

from shufflenet.compiler.graph.integers import (
    addend_factors,
    addition,
    dequantize,
    holds_codes,
    limits,
    quantization,
    quantize,
    requantization,
    sum_scale,
)
from shufflenet.compiler.graph.ir import (
    Activate,
    Activation,
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
    Padding,
    Pool,
    Quantize,
    Resample,
    Softmax,
    View,
)

Arrays = dict[str, np.ndarray]


def interpret(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name, in their ONNX shapes, for the inputs by name."""
    memory = execute(graph, inputs)
    return {port.name: read(memory, port.view).astype(np.float32).reshape(port.shape) for port in graph.outputs}


def execute(graph: Graph, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Every tensor as the operations leave it. No plane is written twice, so `read` finds every value of the run in it."""
    memory = {
        name: np.full(tensor.shape, 0 if tensor.quantization else np.nan, tensor.element.dtype)
        for name, tensor in graph.tensors.items()
    }
    with np.errstate(all="ignore"):
        for port in graph.inputs:
            memory[port.view.tensor][...] = np.asarray(inputs[port.name], np.float32).reshape(graph.shape(port.view))
        for operation in graph.operations:
            value = compute(operation, graph, memory)
            memory[operation.output.tensor][list(operation.output.planes)] = value
    return memory


def read(memory: Mapping[str, np.ndarray], view: View) -> np.ndarray:
    """The channels of a view, (channels, height, width)."""
    return memory[view.tensor][list(view.planes)]


@singledispatch
def compute(operation: Operation, graph: Graph, memory: Arrays) -> np.ndarray:
    """What `operation` writes, (channels, height, width): in float64, or codes."""
    raise NotImplementedError(type(operation).__name__)


@compute.register
def _(operation: Convolution, graph: Graph, memory: Arrays) -> np.ndarray:
    weight = graph.constants[operation.weight].astype(np.float64)
    out, height, width = graph.shape(operation.output)
    groups, kernel = operation.groups, weight.shape[2:]
    weight = weight.reshape(groups, out // groups, -1, *kernel)
    padded = _padded(_less_zero_point(operation.input, graph, memory), operation.padding, 0.0)
    total = np.zeros((groups, out // groups, height * width))
    for y, x in np.ndindex(*kernel):
        pixels = _tap(padded, y, x, operation.stride, operation.dilation, (height, width))
        total += weight[..., y, x] @ pixels.reshape(groups, -1, height * width)
    total = total.reshape(out, height, width)
    if operation.bias is not None:
        total += graph.constants[operation.bias].astype(np.float64).reshape(out, 1, 1)
    if holds_codes(graph, operation.input):
        if not holds_codes(graph, operation.output):
            return activate(total.astype(np.float32) * sum_scale(graph, operation), operation.activation)
        if operation.addend is not None:
            added = addend_factors(graph, operation)
            total = total * 2.0**added.shifts + added.factors * _less_zero_point(operation.addend, graph, memory)
        return requantization(graph, operation)(total)
    if operation.addend is not None:
        total += read(memory, operation.addend)
    return activate(total, operation.activation)


@compute.register
def _(operation: Pool, graph: Graph, memory: Arrays) -> np.ndarray:
    _, *size = graph.shape(operation.output)
    nothing = -np.inf if operation.kind == "max" else 0.0
    pixels = _padded(_less_zero_point(operation.input, graph, memory), operation.padding, nothing)
    counted = np.full(graph.shape(operation.input), 1.0)
    counted = _padded(counted, operation.padding, float(operation.counts_padding))
    # Rows and columns beyond the padding, for windows that overhang in ceil mode to stand on.
    reach = [
        stride * (n - 1) + dilation * (kernel - 1) + 1
        for stride, n, dilation, kernel in zip(
            operation.stride, size, operation.dilation, operation.kernel, strict=True
        )
    ]
    beyond = 0, 0, max(0, reach[0] - pixels.shape[1]), max(0, reach[1] - pixels.shape[2])
    pixels, counted = _padded(pixels, beyond, nothing), _padded(counted, beyond, 0.0)
    window = operation.stride, operation.dilation, (size[0], size[1])
    taps = list(np.ndindex(*operation.kernel))
    if operation.kind == "max":
        result = np.max([_tap(pixels, y, x, *window) for y, x in taps], axis=0)
    else:
        result = np.sum([_tap(pixels, y, x, *window) for y, x in taps], axis=0)
        if holds_codes(graph, operation.input):
            return requantization(graph, operation)(result)
        result /= np.sum([_tap(counted, y, x, *window) for y, x in taps], axis=0)
    return _activated(result, operation, graph)


@compute.register
def _(operation: GlobalPool, graph: Graph, memory: Arrays) -> np.ndarray:
    pixels = _less_zero_point(operation.input, graph, memory)
    if operation.kind == "average" and holds_codes(graph, operation.input):
        return requantization(graph, operation)(pixels.sum(axis=(1, 2), keepdims=True))
    reduce = np.max if operation.kind == "max" else np.mean
    return _activated(reduce(pixels, axis=(1, 2), keepdims=True), operation, graph)


@compute.register
def _(operation: Resample, graph: Graph, memory: Arrays) -> np.ndarray:
    weight, pixels = graph.constants[operation.weight].astype(np.float64), read(memory, operation.input)
    # What has no weight does not count, be it infinite: a pixel that is repeated is itself alone.
    if np.isfinite(pixels).all():
        return weight @ pixels if operation.axis == "rows" else pixels @ weight
    with np.errstate(invalid="ignore"):
        if operation.axis == "rows":
            terms = weight[None, :, :, None] * pixels[:, None]
            return np.where(weight[None, :, :, None] == 0, 0, terms).sum(axis=2)
        terms = pixels[..., None] * weight
        return np.where(weight == 0, 0, terms).sum(axis=2)


@compute.register
def _(operation: Elementwise, graph: Graph, memory: Arrays) -> np.ndarray:
    if holds_codes(graph, operation.output) and operation.kind == "add":
        return addition(graph, operation)(read(memory, operation.left), read(memory, operation.right))
    left, right = (_less_zero_point(view, graph, memory) for view in (operation.left, operation.right))
    if holds_codes(graph, operation.output):
        return requantization(graph, operation)(left * right)
    result = left + right if operation.kind == "add" else left * right
    if operation.addend is not None:
        result = result + read(memory, operation.addend)
    return activate(result, operation.activation)


@compute.register
def _(operation: Activate, graph: Graph, memory: Arrays) -> np.ndarray:
    return _activated(_less_zero_point(operation.input, graph, memory), operation, graph)


@compute.register
def _(operation: LocalResponseNormalization, graph: Graph, memory: Arrays) -> np.ndarray:
    pixels = read(memory, operation.input).astype(np.float64)
    before, after = (operation.size - 1) // 2, operation.size // 2
    squares = np.pad(pixels**2, ((before, after), (0, 0), (0, 0)))
    total = sum(squares[offset : offset + len(pixels)] for offset in range(operation.size))
    return pixels / (operation.bias + operation.alpha / operation.size * total) ** operation.beta


@compute.register
def _(operation: Softmax, graph: Graph, memory: Arrays) -> np.ndarray:
    pixels = read(memory, operation.input).astype(np.float64)
    powers = np.exp(pixels - pixels.max(axis=0))
    return powers / powers.sum(axis=0)


@compute.register
def _(operation: Quantize, graph: Graph, memory: Arrays) -> np.ndarray:
    return quantize(read(memory, operation.input), quantization(graph, operation.output))


@compute.register
def _(operation: Dequantize, graph: Graph, memory: Arrays) -> np.ndarray:
    return dequantize(read(memory, operation.input), quantization(graph, operation.input))


@compute.register
def _(operation: Lookup, graph: Graph, memory: Arrays) -> np.ndarray:
    return graph.constants[operation.table][read(memory, operation.input)]


@compute.register
def _(operation: Pad, graph: Graph, memory: Arrays) -> np.ndarray:
    if holds_codes(graph, operation.output):
        value = int(quantize(np.array(operation.value), quantization(graph, operation.output)))
        return _padded(read(memory, operation.input), operation.padding, value)
    return _padded(read(memory, operation.input), operation.padding, operation.value)


@compute.register
def _(operation: Copy, graph: Graph, memory: Arrays) -> np.ndarray:
    return np.concatenate([read(memory, piece) for piece in operation.pieces])


def activate(x: np.ndarray, activation: Activation | None) -> np.ndarray:
    """The activation of every number; np.maximum and np.minimum keep a NaN."""
    if activation is None:
        return x
    alpha, beta = activation.alpha, activation.beta
    match activation.kind:
        case "relu":
            return np.maximum(x, 0)
        case "clip":
            return np.minimum(np.maximum(x, alpha), beta)
        case "leaky_relu":
            return np.where(x < 0, alpha * x, x)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "hard_sigmoid":
            return np.minimum(np.maximum(alpha * x + beta, 0), 1)
        case "hard_swish":
            return x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1)


def _less_zero_point(view: View, graph: Graph, memory: Arrays) -> np.ndarray:
    """The numbers of a view in float64; of codes, how far each is from the zero point."""
    pixels = read(memory, view).astype(np.float64)
    return pixels - quantization(graph, view).zero_point if holds_codes(graph, view) else pixels


def _activated(x: np.ndarray, operation: Pool | GlobalPool | Activate, graph: Graph) -> np.ndarray:
    """The activation of numbers; the codes of what was less its zero point, within the activation's limits."""
    if not holds_codes(graph, operation.output):
        return activate(x, operation.activation)
    to = quantization(graph, operation.output)
    return np.clip(x + to.zero_point, *limits(operation.activation, to))


def _padded(pixels: np.ndarray, padding: Padding, value: float) -> np.ndarray:
    top, left, bottom, right = padding
    return np.pad(pixels.astype(np.float64), ((0, 0), (top, bottom), (left, right)), constant_values=value)


def _tap(
    padded: np.ndarray, y: int, x: int, stride: tuple[int, int], dilation: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """What each window of the output has at row y, column x of its kernel."""
    top, left = y * dilation[0], x * dilation[1]
    rows = slice(top, top + stride[0] * (size[0] - 1) + 1, stride[0])
    columns = slice(left, left + stride[1] * (size[1] - 1) + 1, stride[1])
    return padded[:, rows, columns]
