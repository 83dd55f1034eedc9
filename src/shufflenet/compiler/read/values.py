"""ONNX values as addresses.

A value is numbers of a view in some arrangement. Reshape, Transpose, Slice, Gather, Split and the like only rearrange; numpy does
that for us, on an array that holds, in place of each number, its place among the view's channels × height × width. So every way
in which an exporter may write a channel shuffle is read by the same few lines, and so are layouts that are left and come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shufflenet.compiler.graph.ir import Pair, View


@dataclass(frozen=True, eq=False)
class Value:
    """Numbers of `view`, whose planes are `size`, in the ONNX shape `shape`.

    `elements` has that shape and tells each number's place in (channels, height, width); None says that they are in that order.
    """

    view: View
    size: Pair
    shape: tuple[int, ...]
    elements: np.ndarray | None = None

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def is_planar(self) -> bool:
        """Whether the shape is (1, channels, height, width), in order."""
        return self.elements is None and self.shape == (1, self.view.channels, *self.size)


def places(value: Value) -> np.ndarray:
    """The place of every number, as an array of the value's shape."""
    if value.elements is not None:
        return value.elements
    return np.arange(value.view.channels * value.area).reshape(value.shape)


def rearranged(value: Value, elements: np.ndarray) -> Value:
    """The value whose numbers are those of `value` at `elements`; where these are whole planes, as a view of the planes."""
    if elements.size and elements.size % value.area == 0:
        rows = elements.reshape(-1, value.area)
        planes = rows[:, 0] // value.area
        if np.array_equal(rows, planes[:, None] * value.area + np.arange(value.area)):
            view = value.view.select(tuple(planes.tolist()))
            return Value(view, value.size, elements.shape)
    return replace(value, shape=elements.shape, elements=elements)


def reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    """The same numbers in the same order."""
    elements = None if value.elements is None else value.elements.reshape(shape)
    return replace(value, shape=shape, elements=elements)


def in_order_of(value: Value, broadcast: np.ndarray) -> np.ndarray | None:
    """An array that numpy can broadcast to the value's shape, as (channels, numbers of a plane) of the value's view.

    None where the value does not hold every number of its view exactly once.
    """
    flat = np.broadcast_to(broadcast, value.shape).reshape(-1)
    if value.elements is not None:
        order = np.argsort(value.elements, axis=None, kind="stable")
        if not np.array_equal(value.elements.reshape(-1)[order], np.arange(value.view.channels * value.area)):
            return None
        flat = flat[order]
    return flat.reshape(value.view.channels, value.area)


def rows_along(value: Value, axes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(channel, pixel) of every number, each (other axes, `axes`): what a reduction over `axes` takes together."""
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    count = int(np.prod([value.shape[axis] for axis in axes], dtype=int))
    rows = places(value).transpose(*kept, *axes).reshape(-1, count)
    return rows // value.area, rows % value.area
