"""Nodes that compute number by number, or mix channels: activations, sums and products, normalisation, full connections."""

import math
from typing import Literal

import numpy as np

from shufflenet.compiler.graph.ir import (
    RELU,
    Activate,
    Activation,
    Convolution,
    Elementwise,
    LocalResponseNormalization,
    Resample,
    Softmax,
    View,
)
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value, in_order_of, places, rearranged, rows_along


def activation(node: Node, reader: Reader) -> Value:
    """Relu, Clip, LeakyRelu, PRelu, Sigmoid, HardSigmoid, HardSwish."""
    value = reader.value(node)
    attributes = node.attributes
    match node.kind:
        case "Relu":
            found = RELU
        case "Clip":
            low = float(reader.constant(node, 1).item()) if reader.has(node, 1) else attributes.get("min", -math.inf)
            high = float(reader.constant(node, 2).item()) if reader.has(node, 2) else attributes.get("max", math.inf)
            found = _clip(low, high)
        case "LeakyRelu":
            found = Activation("leaky_relu", attributes.get("alpha", 0.01))
        case "PRelu":
            slopes = reader.constant(node, 1)
            if slopes.min() != slopes.max():
                return _slopes(node, reader, value, slopes)
            found = Activation("leaky_relu", float(slopes.reshape(-1)[0]))
        case "HardSigmoid":
            found = Activation("hard_sigmoid", attributes.get("alpha", 0.2), attributes.get("beta", 0.5))
        case "HardSwish":
            found = Activation("hard_swish")
        case _:
            found = Activation("sigmoid")
    return _activate(node, reader, value, found)


def _slopes(node: Node, reader: Reader, value: Value, slopes: np.ndarray) -> Value:
    """PRelu with a slope a channel: relu(x) − slope · relu(−x), which is exact and keeps infinities."""
    name, zero = node.output, np.array(0.0)
    negated = _scale_and_shift(node, reader, f"{name}.negated", value, np.array(-1.0), zero)
    parts = []
    for part, source in (("positive", value), ("negative", negated)):
        output = reader.tensor(f"{name}.{part}", source.view.channels, source.size)
        reader.operations.append(Activate(name=f"{name}.{part}", output=output, input=source.view, activation=RELU))
        parts.append(Value(output, source.size, source.shape, source.elements))
    below = _scale_and_shift(node, reader, f"{name}.scaled", parts[1], -slopes.astype(np.float64), zero)
    return _elementwise(node, reader, name, parts[0], below)


def bound(node: Node, reader: Reader) -> Value:
    """Max and Min of a tensor and a number."""
    operands = [reader.operand(node, i) for i in range(len(node.inputs))]
    values = [o for o in operands if isinstance(o, Value)]
    numbers = [o for o in operands if isinstance(o, np.ndarray)]
    if len(values) != 1 or any(number.size != 1 for number in numbers):
        node.refuse("compares tensors", "only a comparison with one number is compiled")
    limits = [float(number.item()) for number in numbers]
    clip = _clip(max(limits), math.inf) if node.kind == "Max" else _clip(-math.inf, min(limits))
    return _activate(node, reader, values[0], clip)


def arithmetic(node: Node, reader: Reader) -> Value:
    """Add, Sum, Sub, Mul and Div, of tensors or of a tensor and constants."""
    operands = [reader.operand(node, i) for i in range(len(node.inputs))]
    result = operands[0]
    for index, operand in enumerate(operands[1:], 1):
        name = node.output if index == len(operands) - 1 else f"{node.output}.{index}"
        result = _combine(node, reader, name, result, operand)
    if isinstance(result, np.ndarray):
        node.refuse("has no input that depends on the network's", "fold it into a constant")
    return result


def negation(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    return _scale_and_shift(node, reader, node.output, value, np.array(-1.0), np.array(0.0))


def batch_normalization(node: Node, reader: Reader) -> Value:
    # Before opset 14 the mode had no attribute: it is training that also gives the batch's mean and variance.
    trains = node.attributes.get("training_mode", 0) if reader.opset >= 14 else any(node.outputs[1:])
    if trains:
        node.refuse("is in training mode", "export the network in eval mode")
    value = reader.value(node)
    scale, shift, mean, variance = (reader.constant(node, i).astype(np.float64) for i in range(1, 5))
    scale = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    shape = (-1,) + (1,) * (len(value.shape) - 2)
    return _scale_and_shift(
        node, reader, node.output, value, scale.reshape(shape), (shift - mean * scale).reshape(shape)
    )


def local_response_normalization(node: Node, reader: Reader) -> Value:
    value = reader.planes(node)
    output = reader.tensor(node.output, value.view.channels, value.size)
    attributes = node.attributes
    reader.operations.append(
        LocalResponseNormalization(
            name=node.output,
            output=output,
            input=value.view,
            size=attributes["size"],
            alpha=attributes.get("alpha", 1e-4),
            beta=attributes.get("beta", 0.75),
            bias=attributes.get("bias", 1.0),
        )
    )
    return Value(output, value.size, value.shape)


def softmax(node: Node, reader: Reader) -> Value:
    """Over the channels, wherever their axis is. Before opset 13 all axes from the given one on are taken together."""
    value = reader.value(node)
    rank = len(value.shape)
    newer = reader.opset >= 13
    axis = node.attributes.get("axis", -1 if newer else 1) % rank
    axes = [axis] if newer else list(range(axis, rank))
    channels, pixels = rows_along(value, axes)
    over_channels = np.array_equal(channels, np.tile(channels[:1], (len(channels), 1)))
    complete = np.array_equal(np.sort(channels[0]), np.arange(value.view.channels))
    if not (over_channels and complete) or (pixels != pixels[:, :1]).any():
        node.refuse(f"is taken over axes {axes} of {list(value.shape)}", "only a softmax over all channels is compiled")
    output = reader.tensor(node.output, value.view.channels, value.size)
    reader.operations.append(Softmax(name=node.output, output=output, input=value.view))
    return Value(output, value.size, value.shape, value.elements)


def fully_connected(node: Node, reader: Reader) -> Value:
    """Gemm and MatMul with constant weights: a convolution whose kernel is a whole plane, or a 1×1 one at every pixel.

    A MatMul of whole planes and a matrix, on either side, makes other rows or columns of each plane.
    """
    if node.kind == "MatMul" and isinstance(reader.operand(node, 0), np.ndarray):
        return _resample(node, reader, reader.planes(node, 1), reader.constant(node, 0), "rows")
    value = reader.value(node)
    weight = reader.constant(node, 1)
    bias, columns, alpha = None, weight.ndim - 1, 1.0
    if node.kind == "Gemm":
        if node.attributes.get("transA", 0):
            node.refuse("transposes its input", "only its weights may be transposed")
        if node.attributes.get("transB", 0):
            weight, columns = weight.T, 0
        if (alpha := node.attributes.get("alpha", 1.0)) != 1:
            weight = weight * np.float32(alpha)
        if reader.has(node, 2):
            bias = np.broadcast_to(
                reader.constant(node, 2) * node.attributes.get("beta", 1.0), (1, weight.shape[1])
            ).reshape(-1)
    if weight.ndim != 2 or value.shape[-1] != weight.shape[0]:
        node.refuse(f"multiplies {list(value.shape)} by {list(weight.shape)}", "only a matrix of weights is compiled")
    count, rows, area = weight.shape[1], math.prod(value.shape[:-1]), value.area
    channels, height, width = value.view.channels, *value.size
    place = places(value).reshape(rows, -1)
    if rows == 1:
        size, kernel = (1, 1), _columns_at(weight.T, place[0], channels * area).reshape(count, channels, height, width)
    elif np.array_equal(place, place[:1] + np.arange(rows)[:, None]) and rows == area and not (place[0] % area).any():
        size, kernel = value.size, _columns_at(weight.T, place[0] // area, channels).reshape(count, channels, 1, 1)
    elif node.kind == "MatMul" and value.is_planar:
        return _resample(node, reader, value, weight, "columns")
    else:
        node.refuse(f"multiplies {list(value.shape)}", "only one vector, or one at every pixel, is compiled")
    output = reader.tensor(node.output, count, size)
    reader.operations.append(
        Convolution(
            name=node.output,
            output=output,
            input=value.view,
            weight=reader.keep(f"{node.output}.weight", kernel),
            bias=None if bias is None else reader.keep(f"{node.output}.bias", bias),
            weight_scale=reader.keep_scale(node, f"{node.output}.weight_scale", columns) if alpha == 1 else None,
        )
    )
    result = Value(output, size, (count, size[0] * size[1]))
    return rearranged(result, places(result).T.reshape(*value.shape[:-1], count))


def _resample(node: Node, reader: Reader, value: Value, weight: np.ndarray, axis: Literal["rows", "columns"]) -> Value:
    height, width = value.size
    inner = height if axis == "rows" else width
    if weight.ndim != 2 or weight.shape[1 if axis == "rows" else 0] != inner:
        node.refuse(f"multiplies planes of {height}x{width} and {list(weight.shape)}", "only a matrix is compiled")
    size = (weight.shape[0], width) if axis == "rows" else (height, weight.shape[1])
    output = reader.tensor(node.output, value.view.channels, size)
    kept = reader.keep(f"{node.output}.weight", weight)
    reader.operations.append(Resample(name=node.output, output=output, input=value.view, weight=kept, axis=axis))
    return Value(output, size, (1, output.channels, *size))


def _columns_at(weight: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """(outputs, count) from (outputs, inputs): input i is met at places[i]; where several are met their weights add up."""
    if np.array_equal(places, np.arange(count)):
        return weight
    columns = np.zeros((len(weight), count), np.float32)
    for index, place in enumerate(places):
        columns[:, place] += weight[:, index]
    return columns


def _clip(low: float, high: float) -> Activation:
    return RELU if low == 0 and high == math.inf else Activation("clip", low, high)


def _activate(node: Node, reader: Reader, value: Value, function: Activation) -> Value:
    output = reader.tensor(node.output, value.view.channels, value.size)
    reader.operations.append(Activate(name=node.output, output=output, input=value.view, activation=function))
    return Value(output, value.size, value.shape, value.elements)


def _combine(
    node: Node, reader: Reader, name: str, left: np.ndarray | Value, right: np.ndarray | Value
) -> np.ndarray | Value:
    """One sum, difference, product or quotient."""
    kind = node.kind
    if isinstance(left, Value) and isinstance(right, Value):
        if kind == "Div":
            node.refuse("divides by a tensor", "only a division by a constant is compiled")
        if kind == "Sub":
            right = _scale_and_shift(node, reader, f"{name}.negated", right, np.array(-1.0), np.array(0.0))
        return _elementwise(node, reader, name, left, right)
    if isinstance(left, Value):
        assert isinstance(right, np.ndarray)
        value, sign, constant = left, 1.0, right.astype(np.float64)
        constant = -constant if kind == "Sub" else 1 / constant if kind == "Div" else constant
    elif isinstance(right, Value):
        if kind == "Div":
            node.refuse("divides by a tensor", "only a division by a constant is compiled")
        value, sign, constant = right, -1.0 if kind == "Sub" else 1.0, left.astype(np.float64)
    else:
        return left * right if kind == "Mul" else left + right
    if kind in ("Mul", "Div"):
        return _scale_and_shift(node, reader, name, value, constant, np.array(0.0))
    return _scale_and_shift(node, reader, name, value, np.array(sign), constant)


def _scale_and_shift(
    node: Node, reader: Reader, name: str, value: Value, scale: np.ndarray, shift: np.ndarray
) -> Value:
    """value · scale + shift, a depthwise 1×1 convolution: each constant must be one number a channel."""
    factors = []
    for constant in (scale, shift):
        try:
            spread = in_order_of(value, constant)
        except ValueError:
            node.refuse(
                f"broadcasts {list(value.shape)} with a constant {list(constant.shape)}",
                "a constant must not be larger than the tensor",
            )
        if spread is None or (spread != spread[:, :1]).any():
            node.refuse(
                f"combines {list(value.shape)} with a constant {list(constant.shape)} that differs from pixel to pixel",
                "a constant must have one number, or one a channel",
            )
        factors.append(spread[:, 0].astype(np.float64))
    channels = value.view.channels
    output = reader.tensor(name, channels, value.size)
    reader.operations.append(
        Convolution(
            name=name,
            output=output,
            input=value.view,
            weight=reader.keep(f"{name}.weight", factors[0].reshape(channels, 1, 1, 1)),
            bias=reader.keep(f"{name}.bias", factors[1]),
            groups=channels,
        )
    )
    return Value(output, value.size, value.shape, value.elements)


def _elementwise(node: Node, reader: Reader, name: str, left: Value, right: Value) -> Value:
    """The tensor that has the result's shape is `left`; `right` is brought into its order and may be one number a channel."""
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        node.refuse(f"combines {list(left.shape)} and {list(right.shape)}", "the shapes must broadcast")
    if left.shape != shape or right.area > left.area:
        left, right = right, left
    spread = in_order_of(left, places(right)) if left.shape == shape else None
    if spread is None:
        node.refuse(
            f"combines {list(left.shape)} and {list(right.shape)}", "one of them must have the shape of the result"
        )
    planes, pixels = np.array(right.view.planes)[spread // right.area], spread % right.area
    expected = np.arange(left.area) if right.size == left.size else np.zeros(1, int)
    if (planes != planes[:, :1]).any() or (pixels != expected).any():
        node.refuse(
            f"combines {list(left.shape)} and {list(right.shape)}, whose pixels are in different places",
            "tensors must have the same layout, or one of them one number a channel",
        )
    output = reader.tensor(name, left.view.channels, left.size)
    kind = "multiply" if node.kind == "Mul" else "add"
    view = View(right.view.tensor, tuple(planes[:, 0].tolist()))
    reader.operations.append(Elementwise(name=name, output=output, kind=kind, left=left.view, right=view))
    return Value(output, left.size, left.shape, left.elements)
