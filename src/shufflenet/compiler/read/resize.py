"""Nodes that make planes larger: Resize and Upsample, and transposed convolutions, by weighted sums of rows and of columns."""

import math
from collections.abc import Iterable

import numpy as np

from shufflenet.compiler.graph.ir import Convolution, Pair, Resample
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value


def resize(node: Node, reader: Reader) -> Value:
    """Resize and Upsample, nearest and linear, by any factors of height and width."""
    value = reader.planes(node)
    mode = node.attributes.get("mode", "nearest")
    if mode not in ("nearest", "linear"):
        node.refuse(f"resizes by mode {mode!r}", "use nearest or linear")
    scales, sizes = _scales_and_sizes(node, reader, value.shape)
    if any(n != value.shape[axis] for axis, n in enumerate(sizes[:2])):
        node.refuse(f"resizes {list(value.shape)} to {sizes}", "only height and width can be resized")
    if node.attributes.get("antialias", 0) and min(scales) < 1:
        node.refuse("makes planes smaller with antialias", "export it without")
    matrices = [_weights(node, reader, value.shape[axis], sizes[axis], scales[axis]) for axis in (2, 3)]
    return _resampled(reader, node.output, value, matrices[0], matrices[1])


def _scales_and_sizes(node: Node, reader: Reader, shape: tuple[int, ...]) -> tuple[list[float], list[int]]:
    """Of all axes; the file gives one of both, for all axes or for some."""
    axes = [axis % len(shape) for axis in node.attributes.get("axes") or range(len(shape))]
    newer = node.kind == "Resize" and reader.opset >= 11
    scales, sizes = [1.0] * len(shape), list(shape)
    if newer and reader.has(node, 3) and reader.constant(node, 3).size:
        if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            node.refuse("keeps the aspect ratio", "give the size that results")
        for axis, size in zip(axes, reader.constant(node, 3).reshape(-1), strict=True):
            sizes[axis], scales[axis] = int(size), int(size) / shape[axis]
        return scales, sizes
    index = 2 if newer else 1
    given: Iterable[float] = (
        reader.constant(node, index).reshape(-1) if reader.has(node, index) else node.attributes.get("scales", ())
    )
    for axis, scale in zip(axes, given, strict=True):
        scales[axis], sizes[axis] = float(scale), math.floor(shape[axis] * float(scale))
    return scales, sizes


def _weights(node: Node, reader: Reader, length: int, count: int, scale: float) -> np.ndarray:
    """(count, length): what each number of the result takes of each that is there."""
    attributes = node.attributes
    older = node.kind == "Upsample" or reader.opset < 11
    i = np.arange(count)
    match "asymmetric" if older else attributes.get("coordinate_transformation_mode", "half_pixel"):
        case "half_pixel":
            x = (i + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            x = length / 2 * (1 - count / (scale * length)) + (i + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            x = (i + 0.5) / scale - 0.5 if count > 1 else np.zeros(1)
        case "align_corners":
            x = i * (length - 1) / (count - 1) if count > 1 else np.zeros(1)
        case "asymmetric":
            x = i / scale
        case other:
            node.refuse(f"has the coordinates {other!r}", "use half_pixel, align_corners or asymmetric")
    weights = np.zeros((count, length))
    if attributes.get("mode", "nearest") == "nearest":
        rounding = "floor" if scale >= 1 else "ceil"
        if not older:
            rounding = attributes.get("nearest_mode", "round_prefer_floor")
        match rounding:
            case "floor":
                x = np.floor(x)
            case "ceil":
                x = np.ceil(x)
            case "round_prefer_ceil":
                x = np.floor(x + 0.5)
            case _:
                x = np.ceil(x - 0.5)
        weights[i, np.clip(x, 0, length - 1).astype(int)] = 1
        return weights
    x = np.clip(x, 0, length - 1)
    low = np.floor(x).astype(int)
    np.add.at(weights, (i, low), 1 - (x - low))
    np.add.at(weights, (i, np.minimum(low + 1, length - 1)), x - low)
    return weights


def transposed_convolution(node: Node, reader: Reader) -> Value:
    """ConvTranspose: zeros between the pixels, then the convolution whose kernel is mirrored."""
    value, weight = reader.planes(node), reader.constant(node, 1)
    groups = node.attributes.get("group", 1)
    if weight.ndim != 4 or weight.shape[0] != value.view.channels or weight.shape[0] % groups:
        node.refuse(
            f"has weights {list(weight.shape)} in {groups} groups for {value.view.channels} channels",
            "only two-dimensional convolutions are compiled",
        )
    stride, dilation, (begin, end) = _transposed_window(node, (weight.shape[2], weight.shape[3]), value.size)
    spread, padding = [], []
    for axis in (0, 1):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        before, after = reach - begin[axis], reach - end[axis]
        length = value.size[axis]
        places = np.zeros(((length - 1) * stride[axis] + 1, length))
        places[np.arange(length) * stride[axis], np.arange(length)] = 1
        spread.append(places[max(0, -before) : len(places) - max(0, -after)])
        padding.append((max(0, before), max(0, after)))
    (top, bottom), (left, right) = padding
    size = tuple(
        len(places) + sum(pads) - dilation[axis] * (weight.shape[2 + axis] - 1)
        for axis, (places, pads) in enumerate(zip(spread, padding, strict=True))
    )
    if min(size) < 1 or min(map(len, spread)) < 1:
        node.refuse(f"leaves nothing of {value.size[0]}x{value.size[1]}", "give the network a larger input")
    spaced = _resampled(reader, f"{node.output}.spaced", value, spread[0], spread[1])
    inner, rows = weight.shape[0] // groups, weight.shape[1]
    mirrored = weight[:, :, ::-1, ::-1].reshape(groups, inner, rows, *weight.shape[2:]).swapaxes(1, 2)
    output = reader.tensor(node.output, groups * rows, (size[0], size[1]))
    reader.operations.append(
        Convolution(
            name=node.output,
            output=output,
            input=spaced.view,
            weight=reader.keep(f"{node.output}.weight", mirrored.reshape(groups * rows, inner, *weight.shape[2:])),
            bias=reader.keep(f"{node.output}.bias", reader.constant(node, 2)) if reader.has(node, 2) else None,
            padding=(top, left, bottom, right),
            dilation=dilation,
            groups=groups,
        )
    )
    return Value(output, (size[0], size[1]), (1, output.channels, *size))


def _transposed_window(node: Node, kernel: Pair, size: Pair) -> tuple[Pair, Pair, tuple[list[int], list[int]]]:
    """Stride, dilation, and what is cut off the whole result before and after; a negative cut adds rows of nothing."""
    attributes = node.attributes

    def pair(name: str, default: int) -> Pair:
        rows, columns = attributes.get(name) or (default, default)
        return rows, columns

    stride, dilation, extra = pair("strides", 1), pair("dilations", 1), pair("output_padding", 0)
    whole = [stride[a] * (size[a] - 1) + dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    wanted = attributes.get("output_shape")
    automatic = attributes.get("auto_pad", "NOTSET")
    if wanted is None and automatic not in ("SAME_UPPER", "SAME_LOWER"):
        pads = (attributes.get("pads") or (0, 0, 0, 0)) if automatic == "NOTSET" else (0, 0, 0, 0)
        return stride, dilation, (list(pads[:2]), [pads[2 + a] - extra[a] for a in (0, 1)])
    targets = [size[a] * stride[a] for a in (0, 1)] if wanted is None else list(wanted[-2:])
    total = [whole[a] + extra[a] - targets[a] for a in (0, 1)]
    if min(total) < 0:
        node.refuse(f"is to give {targets}, more than the {whole} that it reaches", "use output_padding")
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    begin, end = (less, more) if automatic == "SAME_UPPER" else (more, less)
    return stride, dilation, (begin, [end[a] - extra[a] for a in (0, 1)])


def _resampled(reader: Reader, name: str, value: Value, rows: np.ndarray, columns: np.ndarray) -> Value:
    """The planes rows × plane × columnsᵀ; what leaves a plane as it is, is no operation."""
    view, (height, width) = value.view, value.size
    if not np.array_equal(rows, np.eye(height)):
        height = len(rows)
        name_of_rows = name if np.array_equal(columns, np.eye(width)) else f"{name}.rows"
        output = reader.tensor(name_of_rows, view.channels, (height, width))
        kept = reader.keep(f"{name_of_rows}.weight", rows.astype(np.float32))
        reader.operations.append(Resample(name=name_of_rows, output=output, input=view, weight=kept, axis="rows"))
        view = output
    if not np.array_equal(columns, np.eye(width)):
        width = len(columns)
        output = reader.tensor(name, view.channels, (height, width))
        kept = reader.keep(f"{name}.weight", columns.T.astype(np.float32))
        reader.operations.append(Resample(name=name, output=output, input=view, weight=kept, axis="columns"))
        view = output
    return Value(view, (height, width), (1, view.channels, height, width))
