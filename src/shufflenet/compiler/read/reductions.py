"""Nodes that take many numbers together: means and largest numbers over pixels, rows, columns or channels."""

import numpy as np

from shufflenet.compiler.graph.ir import Convolution, GlobalPool, Pool
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value, rearranged, reshaped, rows_along


def reduction(node: Node, reader: Reader) -> Value:
    """GlobalAveragePool, GlobalMaxPool, ReduceMean and ReduceMax, wherever the axes are."""
    value = reader.value(node)
    rank = len(value.shape)
    axes = list(range(2, rank))
    keeps = True
    if node.kind.startswith("Reduce"):
        found = reader.integers(node, 1, "axes")
        if not found and node.attributes.get("noop_with_empty_axes", 0):
            return value
        axes = sorted(axis % rank for axis in found) if found else list(range(rank))
        keeps = bool(node.attributes.get("keepdims", 1))
    result = _reduced(node, reader, node.output, value, axes)
    kept = tuple(n for axis, n in enumerate(result.shape) if keeps or axis not in axes)
    return reshaped(result, kept)


def _reduced(node: Node, reader: Reader, name: str, value: Value, axes: list[int]) -> Value:
    """The value with 1 in place of these axes: at once where a step does that, else one axis after the other."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(value.shape))
    if shape == value.shape:
        return value
    channels, pixels = rows_along(value, axes)
    if (channels == channels[:, :1]).all():
        if pixels.shape[1] == value.area and (np.sort(pixels) == np.arange(value.area)).all():
            return _over_planes(node, reader, name, value, channels[:, 0], shape)
        if window := _lines(value, pixels):
            return _over_lines(node, reader, name, value, window, channels[:, 0], pixels[:, 0], shape)
    elif (pixels == pixels[:, :1]).all() and _is_mean(node):
        return _over_channels(reader, name, value, channels, pixels[:, 0], shape)
    if len(axes) == 1:
        node.refuse(
            f"reduces {list(value.shape)} over axis {axes[0]}",
            "a mean over pixels, rows, columns or channels is compiled, and the largest of pixels, rows or columns",
        )
    for axis in axes[::-1]:
        value = _reduced(node, reader, name if axis == axes[0] else f"{name}.{axis}", value, [axis])
    return value


def _is_mean(node: Node) -> bool:
    return node.kind in ("GlobalAveragePool", "ReduceMean")


def _lines(value: Value, pixels: np.ndarray) -> tuple[int, int] | None:
    """The window, height × width, that holds the pixels taken together, if they are whole columns or whole rows."""
    height, width = value.size
    for numbers, others, window in (
        (pixels // width, pixels % width, (height, 1)),
        (pixels % width, pixels // width, (1, width)),
    ):
        length = max(window)
        whole = numbers.shape[1] == length and (np.sort(numbers) == np.arange(length)).all()
        if whole and (others == others[:, :1]).all():
            return window
    return None


def _over_planes(
    node: Node, reader: Reader, name: str, value: Value, channels: np.ndarray, shape: tuple[int, ...]
) -> Value:
    view = value.view.select(tuple(channels.tolist()))
    output = reader.tensor(name, view.channels, (1, 1))
    kind = "average" if _is_mean(node) else "max"
    reader.operations.append(GlobalPool(name=name, output=output, kind=kind, input=view))
    return Value(output, (1, 1), shape)


def _over_lines(
    node: Node, reader: Reader, name: str, value: Value, window: tuple[int, int], channels: np.ndarray,
    pixels: np.ndarray, shape: tuple[int, ...],
) -> Value:  # fmt: skip
    """Columns of the whole height become a row, rows of the whole width a column."""
    height, width = value.size
    size = (1, width) if window[1] == 1 else (height, 1)
    output = reader.tensor(name, value.view.channels, size)
    kind = "average" if _is_mean(node) else "max"
    reader.operations.append(Pool(name=name, output=output, kind=kind, input=value.view, kernel=window))
    result = Value(output, size, (output.channels, *size))
    line = pixels % width if window[1] == 1 else pixels // width
    return rearranged(result, (channels * result.area + line).reshape(shape))


def _over_channels(
    reader: Reader, name: str, value: Value, channels: np.ndarray, pixels: np.ndarray, shape: tuple[int, ...]
) -> Value:
    """A 1×1 convolution, which has one output for each set of channels that are taken together."""
    sets, which = np.unique(np.sort(channels), axis=0, return_inverse=True)
    weight = np.zeros((len(sets), value.view.channels, 1, 1), np.float32)
    for row, members in zip(weight, sets, strict=True):
        np.add.at(row[:, 0, 0], members, np.float32(1 / sets.shape[1]))
    output = reader.tensor(name, len(sets), value.size)
    kept = reader.keep(f"{name}.weight", weight)
    reader.operations.append(Convolution(name=name, output=output, input=value.view, weight=kept))
    result = Value(output, value.size, (len(sets), *value.size))
    return rearranged(result, (which.reshape(-1) * value.area + pixels).reshape(shape))
