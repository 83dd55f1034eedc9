"""Nodes that slide a window over planes: convolutions, pools, padding."""

import math

from shufflenet.compiler.graph.ir import (
    Convolution,
    Pad,
    Padding,
    Pair,
    Pool,
    every_window_touches,
    output_size,
)
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value


def convolution(node: Node, reader: Reader) -> Value:
    weight = reader.constant(node, 1)
    if weight.ndim != 4:
        node.refuse(f"has weights of shape {list(weight.shape)}", "only two-dimensional convolutions are compiled")
    value = reader.planes(node)
    groups = node.attributes.get("group", 1)
    if weight.shape[1] * groups != value.view.channels or weight.shape[0] % groups:
        node.refuse(
            f"has weights {list(weight.shape)} in {groups} groups for {value.view.channels} channels",
            "correct the file",
        )
    kernel = weight.shape[2], weight.shape[3]
    stride, padding, dilation = _window(node, kernel, value.size)
    size = output_size(value.size, kernel, stride, padding, dilation)
    if min(size) < 1:
        _too_small(node, value.size, kernel, padding)
    output = reader.tensor(node.output, weight.shape[0], size)
    bias = reader.keep(f"{node.output}.bias", reader.constant(node, 2)) if reader.has(node, 2) else None
    reader.operations.append(
        Convolution(
            name=node.output,
            output=output,
            input=value.view,
            weight=reader.keep(f"{node.output}.weight", weight),
            bias=bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            weight_scale=reader.keep_scale(node, f"{node.output}.weight_scale", 0),
        )
    )
    return Value(output, size, (1, output.channels, *size))


def pool(node: Node, reader: Reader) -> Value:
    """MaxPool and AveragePool; ceil mode becomes an output size, and a last window that would begin in the padding is left out."""
    value = reader.planes(node)
    kernel = _pair(node, "kernel_shape", (1, 1))
    stride, padding, dilation = _window(node, kernel, value.size)
    size = output_size(value.size, kernel, stride, padding, dilation)
    if node.attributes.get("ceil_mode", 0):
        size = _ceil_size(value.size, kernel, stride, padding, dilation)
    if min(size) < 1:
        _too_small(node, value.size, kernel, padding)
    if not every_window_touches(value.size, size, kernel, stride, padding, dilation):
        node.refuse(f"has windows {kernel} that lie wholly in the padding {padding}", "pad by less than the window")
    output = reader.tensor(node.output, value.view.channels, size)
    reader.operations.append(
        Pool(
            name=node.output,
            output=output,
            kind="max" if node.kind == "MaxPool" else "average",
            input=value.view,
            kernel=kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            counts_padding=bool(node.attributes.get("count_include_pad", 0)),
        )
    )
    return Value(output, size, (1, output.channels, *size))


def pad(node: Node, reader: Reader) -> Value:
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        node.refuse(f"pads by mode {mode!r}", "only constant padding is compiled")
    value = reader.planes(node)
    amounts = reader.integers(node, 1, "pads") or []
    axes = [axis % 4 for axis in reader.integers(node, 3, "axes") or range(4)]
    before, after = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    before |= zip(axes, amounts[: len(axes)], strict=True)
    after |= zip(axes, amounts[len(axes) :], strict=True)
    if before[0] or after[0] or before[1] or after[1] or min(amounts, default=0) < 0:
        node.refuse(f"pads by {amounts}", "only rows and columns can be added, none taken away")
    padding = before[2], before[3], after[2], after[3]
    if not any(padding):
        return value
    constant = float(reader.constant(node, 2).item()) if reader.has(node, 2) else node.attributes.get("value", 0.0)
    size = value.size[0] + padding[0] + padding[2], value.size[1] + padding[1] + padding[3]
    output = reader.tensor(node.output, value.view.channels, size)
    reader.operations.append(Pad(name=node.output, output=output, input=value.view, padding=padding, value=constant))
    return Value(output, size, (1, output.channels, *size))


def _pair(node: Node, attribute: str, default: Pair) -> Pair:
    numbers = node.attributes.get(attribute) or default
    if len(numbers) != 2:
        node.refuse(f"has {attribute} {list(numbers)}", "only windows of two dimensions are compiled")
    return numbers[0], numbers[1]


def _window(node: Node, kernel: Pair, size: Pair) -> tuple[Pair, Padding, Pair]:
    """Stride, padding and dilation, with auto_pad worked out."""
    stride, dilation = _pair(node, "strides", (1, 1)), _pair(node, "dilations", (1, 1))
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        pads = node.attributes.get("pads") or (0, 0, 0, 0)
        if len(pads) != 4 or min(pads) < 0:
            node.refuse(f"has pads {list(pads)}", "four numbers of at least 0 are compiled")
        return stride, (pads[0], pads[1], pads[2], pads[3]), dilation
    if automatic == "VALID":
        return stride, (0, 0, 0, 0), dilation
    total = [
        max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
    ]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    begin, end = (more, less) if automatic == "SAME_LOWER" else (less, more)
    return stride, (begin[0], begin[1], end[0], end[1]), dilation


def _ceil_size(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    def one(axis: int) -> int:
        room = size[axis] + padding[axis] + padding[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1
        count = math.ceil(room / stride[axis]) + 1
        return count - 1 if (count - 1) * stride[axis] >= size[axis] + padding[axis] else count

    return one(0), one(1)


def _too_small(node: Node, size: Pair, kernel: Pair, padding: Padding) -> None:
    node.refuse(
        f"has a window of {kernel[0]}x{kernel[1]} over {size[0]}x{size[1]} padded by {padding}",
        "give the network a larger input",
    )
