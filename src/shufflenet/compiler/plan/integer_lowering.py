"""Operations on codes → steps. What each computes, in integers, is said by graph/integers.py; here it gets its kernel and its memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import singledispatchmethod
from math import prod
from typing import Any

import numpy as np

from shufflenet.compiler.graph.elements import INT32, S8, U8
from shufflenet.compiler.graph.integers import (
    addend_factors,
    addition,
    holds_codes,
    limits,
    quantization,
    quantize,
    requantization,
    sum_scale,
)
from shufflenet.compiler.graph.ir import (
    Activate,
    Convolution,
    Copy,
    Dequantize,
    Elementwise,
    GlobalPool,
    Graph,
    Lookup,
    Operation,
    Pad,
    Pool,
    Quantize,
    Resample,
    View,
)
from shufflenet.compiler.plan import integer_steps as steps
from shufflenet.compiler.plan.alignment import OVERHANG_BYTES, aligned
from shufflenet.compiler.plan.machines import UNITS
from shufflenet.compiler.plan.operands import Block, Planes, Window, window_of
from shufflenet.compiler.plan.stems import FoundStem, lay_out_integer_stem
from shufflenet.compiler.plan.steps import Step
from shufflenet.compiler.plan.tiles import fits, row_tiles
from shufflenet.compiler.plan.weights import Weights

BLOCK_PIXELS = 64  # the most of a kernel's block
BLOCK_BYTES = (
    # Of a block of four channels in a panel, on the machine that needs most: 64 pixels, each code in two bytes.
    512
)
PANEL_BYTES = 128 << 10  # of packed pixels that all rows meet before the next
PADDED_BYTES = 8 << 10  # of a plane's rows between zero points
MOST_ROWS = 8  # of a tile: the arrays' size in kernels/integer_product.c
LARGEST_BLOCK = 64  # rows whose weights lie together: their lines are not so far apart that they share cache sets
SHALLOW = 64  # channels
VECTORS = 4  # of sums that a block of pixels is
LARGE = 2.0**30  # a sum times its scale beyond this is kept within 32 bits
# Of a tile's weights of four channels, where they are made wider before they are multiplied.
WIDE_BYTES = max(
    rows * 4 * 4 // unit.depth
    for unit in UNITS[U8.name]
    for rows in range(1, MOST_ROWS + 1)
    if unit.depth < 4 and fits(rows, VECTORS, unit)
)


class IntegerLowering:
    """Plans operations on codes; `planes` and `port` say where a view's planes lie, `spare` what scratch each operation may take."""

    def __init__(
        self, graph: Graph, weights: Weights, spare: dict[str, int],
        planes: Callable[[View], Planes], from_port: Callable[[View], Planes],
    ) -> None:  # fmt: skip
        self.graph, self.weights, self.spare = graph, weights, spare
        self.planes, self.from_port = planes, from_port
        self.inputs = {port.view.tensor for port in graph.inputs}

    @singledispatchmethod
    def plan(self, operation: Operation) -> Iterator[Step]:
        raise TypeError(f"{type(operation).__name__} has no plan on codes")

    @plan.register
    def _(self, operation: Convolution) -> Iterator[Step]:
        graph = self.graph
        channels, _, _ = graph.shape(operation.input)
        out, _, _ = graph.shape(operation.output)
        weight = graph.constants[operation.weight]
        window = window_of(graph, operation)
        matrix = weight.reshape(out, -1).astype(np.int64)
        zero = quantization(graph, operation.input).zero_point
        bias = -zero * matrix.sum(axis=1)
        if operation.bias is not None:
            bias = bias + graph.constants[operation.bias].astype(np.int64)
        largest = np.abs(bias) + 255 * np.abs(matrix).sum(axis=1)
        common = self._convolution(operation)
        if operation.addend is not None:
            added = addend_factors(graph, operation)
            factors, shifts = added.factors.reshape(-1), added.shifts.reshape(-1)
            addend_zero = quantization(graph, operation.addend).zero_point
            largest = (largest << shifts) + 510 * factors
            common |= {"addend": self.planes(operation.addend), "addend_factors": self.weights.add(factors, INT32)}
            if shifts.any():
                common["shifts"] = self.weights.add(shifts, INT32)
                if addend_zero:
                    common["addend_bias"] = self.weights.add(-addend_zero * factors, INT32)
            else:
                bias = bias - addend_zero * factors
        codes = holds_codes(graph, operation.output)
        scale = requantization(graph, operation).scale if codes else sum_scale(graph, operation)
        scale = np.broadcast_to(np.asarray(scale, np.float32).reshape(-1), (out,))
        large = _are_large(largest, scale)
        common |= {"bias": self.weights.add(_wrapped(bias), INT32), "scale": self.weights.add(scale)}
        depthwise = operation.groups == channels == out
        if not codes and (depthwise or operation.activation):
            yield self._patches(common, window, matrix, zero)
        elif depthwise and not large and operation.addend is None and window.is_direct:
            yield self._depthwise(common, window, matrix, zero)
        elif depthwise:
            yield self._patches(common, window, matrix, zero)
        else:
            yield self._product(operation, common, window, matrix, zero, large=large)

    def stem(self, operation: Convolution, stem: FoundStem) -> Step:
        """The first convolution with the codes before it and the pool after it."""
        graph, quantize, pool = self.graph, stem.quantize, stem.pool
        assert quantize is not None
        weight = graph.constants[operation.weight].astype(np.int64)
        channels, height, width = graph.shape(operation.input)
        filters, *convolution_size = graph.shape(operation.output)
        read = quantize.input.select(_channel_order(operation.input, quantize.output))
        codes = quantization(graph, operation.input)
        sums = weight.sum(axis=(1, 2, 3))
        bias = graph.constants[operation.bias].astype(np.int64) if operation.bias is not None else 0
        scale = np.broadcast_to(requantization(graph, operation).scale.reshape(-1), (filters,))
        largest = np.abs(bias) + 255 * np.abs(weight).sum(axis=(1, 2, 3))
        packed = np.zeros((channels, 3, filters, 4), np.int64)
        packed[..., :3] = weight.transpose(1, 2, 0, 3)
        usual: dict[str, Any] = self._convolution(operation) | {"input": self.from_port(read)}
        what = f"int8 3×3 convolution, {channels} → {filters} channels"
        if pool:
            what += f", and max pool, {'×'.join(map(str, graph.shape(pool.output)[1:]))}"
            usual["output"] = self.planes(pool.output)
        layout = lay_out_integer_stem(channels, filters, convolution_size[1], pooled=pool is not None)
        usual["comment"] = f"stem: {what}"
        return steps.IntegerStem(
            **usual, size=(height, width), convolution_size=(convolution_size[0], convolution_size[1]),
            pooled=pool is not None, input_scale=codes.scale, input_zero=codes.zero_point, layout=layout, large=_are_large(largest, scale),
            scratch_bytes=layout.bytes, rows=self._rows(filters),
            weights=self.weights.add(packed, S8), weight_sums=self.weights.add(sums, INT32),
            bias=self.weights.add(_wrapped(bias - codes.zero_point * sums), INT32), scale=self.weights.add(scale),
        )  # fmt: skip

    def _rows(self, rows: int, *, shallow: bool = False) -> Block:
        """A block whose tiles suit each unit. `shallow`: sums of so few products that it takes as long to make codes of them."""
        heights = [(unit, min(MOST_ROWS, unit.shallow_rows) if shallow else MOST_ROWS) for unit in UNITS[U8.name]]
        return Block(1, rows, tuple(row_tiles(rows, VECTORS, most, unit) for unit, most in heights))

    def _convolution(self, operation: Convolution) -> dict[str, Any]:
        weight, groups = self.graph.constants[operation.weight], operation.groups
        channels, _, _ = self.graph.shape(operation.input)
        out, height, width = self.graph.shape(operation.output)
        comment = (
            f"int8 {'×'.join(map(str, weight.shape[2:]))} convolution, {channels} → {out} channels, {height}×{width}"
        )
        comment += f", {groups} groups" if groups > 1 else ""
        comment += f", {operation.activation}" if operation.activation else ""
        common: dict[str, Any] = {
            "name": operation.name, "comment": comment, "output": self.planes(operation.output),
            "input": self.planes(operation.input), "groups": groups, "work": weight[0].size * out * height * width,
        }  # fmt: skip
        if holds_codes(self.graph, operation.output):
            return common | self._bounds(operation)
        return common | {"activation": operation.activation}

    def _bounds(self, operation: Convolution | Elementwise | Pool | GlobalPool) -> dict[str, Any]:
        to = quantization(self.graph, operation.output)
        low, high = limits(operation.activation, to)
        return {"zero_point": to.zero_point, "low": low, "high": high}

    def _product(
        self,
        operation: Convolution,
        common: dict[str, Any],
        window: Window,
        matrix: np.ndarray,
        zero: int,
        *,
        large: bool,
    ) -> Step:
        groups, out = operation.groups, len(matrix)
        inner, rows, pixels = matrix.shape[1], out // groups, window.output_height * window.output_width
        pointwise = (window.kernel, window.stride, operation.padding) == ((1, 1), (1, 1), (0, 0, 0, 0))
        gathers = not (pointwise and self.planes(operation.input).spacing is not None)
        quads = -(-inner // 4)
        # Of as many pixels as a panel has: what is packed, and before that gathered.
        each = BLOCK_BYTES * quads + (inner * BLOCK_PIXELS if gathers else 0)
        wide, ends = aligned(quads * WIDE_BYTES), inner * OVERHANG_BYTES if gathers else 0
        room = min(PANEL_BYTES, self.spare.get(operation.name, 0) - wide - ends)
        blocks_at_once = min(max(1, room // each), -(-pixels // BLOCK_PIXELS))
        panel = aligned(blocks_at_once * BLOCK_BYTES * quads)
        most = blocks_at_once * BLOCK_PIXELS if gathers else pixels
        stride = most + OVERHANG_BYTES if gathers else 0
        if pixels == 1:
            panel, wide, stride = aligned(4 * quads), 0, int(gathers)
        block = choose_block(rows)
        blocks = tuple(
            replace(self._rows(size, shallow=inner <= SHALLOW), count=count)
            for count, size in ((rows // block, block), (1, rows % block))
            if count and size
        )
        packed = np.zeros((groups, rows, quads * 4), np.int64)
        packed[:, :, :inner] = matrix.reshape(groups, rows, inner)
        return steps.IntegerProduct(
            **common, inner=inner, pixels=pixels, most_pixels=most, window=window if gathers else None,
            panel_bytes=panel, wide=panel, gathered=panel + wide, gathered_stride=stride, input_zero=zero, large=large,
            scratch_bytes=panel + wide + inner * stride,
            weights=self.weights.add(pack_blocks(packed, blocks), S8),
            weight_sums=self.weights.add(matrix.sum(axis=1), INT32), blocks=blocks,
        )  # fmt: skip

    def _depthwise(self, common: dict[str, Any], window: Window, matrix: np.ndarray, zero: int) -> Step:
        packed = np.zeros((len(matrix), 3, 4), np.int64)
        packed[:, :, :3] = matrix.reshape(-1, 3, 3)
        common["comment"] = f"depthwise {common['comment']}"
        layout = lay_out_integer_depthwise(window, self.spare.get(common["name"], 0))
        return steps.IntegerDepthwise(
            **common, window=window, input_zero=zero, weights=self.weights.add(packed, S8), layout=layout,
            scratch_bytes=layout.bytes,
        )  # fmt: skip

    def _patches(self, common: dict[str, Any], window: Window, matrix: np.ndarray, zero: int) -> Step:
        return steps.IntegerPatches(
            **common, window=window, input_zero=zero, inner=matrix.shape[1], weights=self.weights.add(matrix, S8),
            scratch_bytes=matrix.shape[1],
        )  # fmt: skip

    @plan.register
    def _(self, operation: Pool) -> Iterator[Step]:
        channels, output_height, output_width = self.graph.shape(operation.output)
        window = window_of(self.graph, operation)
        largest = operation.kind == "max"
        comment = f"int8 {operation.kind} pool {'×'.join(map(str, window.kernel))}, {channels} channels, {output_height}×{output_width}"
        common: dict[str, Any] = {
            "name": operation.name, "comment": comment, "output": self.planes(operation.output),
            "input": self.planes(operation.input), **self._bounds(operation),
        }  # fmt: skip
        zero = quantization(self.graph, operation.input).zero_point
        scale = None if largest else requantization(self.graph, operation).scale
        if (
            scale is not None
            and operation.counts_padding
            and operation.padding == (1, 1, 1, 1)
            and window.is_direct
            and 9 * 255 * float(scale.max()) < LARGE
        ):
            # Every window counts 9 numbers: a depthwise convolution with weights of 1.
            ones = np.ones((channels, 9), np.int64)
            common |= {
                "groups": channels,
                "bias": self.weights.add(np.full(channels, -9 * zero), INT32),
                "scale": self.weights.add(np.full(channels, scale.flat[0])),
            }
            yield self._depthwise(common, window, ones, zero)
            return
        scales = 0 if scale is None else self.weights.add(np.broadcast_to(scale, (output_height, output_width)))
        yield steps.IntegerPool(
            **common, largest=largest, window=window, input_zero=zero, scales=scales,
            scratch_bytes=max(4 * (window.width + output_width), 3 * (window.width + OVERHANG_BYTES)) + OVERHANG_BYTES,
        )  # fmt: skip

    @plan.register
    def _(self, operation: GlobalPool) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        largest = operation.kind == "max"
        yield steps.IntegerReduce(
            name=operation.name, comment=f"int8 {operation.kind} of each of {channels} planes, {height}×{width}",
            output=self.planes(operation.output), input=self.planes(operation.input), **self._bounds(operation),
            largest=largest, size=height * width, input_zero=quantization(self.graph, operation.input).zero_point,
            scale=1.0 if largest else float(requantization(self.graph, operation).scale),
        )  # fmt: skip

    @plan.register
    def _(self, operation: Elementwise) -> Iterator[Step]:
        graph, left, right = self.graph, self.graph.shape(operation.left), self.graph.shape(operation.right)
        common: dict[str, Any] = {
            "name": operation.name, "comment": f"int8 {operation.kind}, {left[0]} channels, {left[1]}×{left[2]}",
            "output": self.planes(operation.output), "left": self.planes(operation.left),
            "right": self.planes(operation.right), "right_is_number": right[1:] != left[1:], "size": left[1] * left[2],
        }  # fmt: skip
        common |= self._bounds(operation)
        if operation.kind == "add":
            sum_ = addition(graph, operation)
            yield steps.IntegerAdd(
                **common, left_factor=sum_.left, right_factor=sum_.right, offset=sum_.offset, shift=sum_.shift
            )
        else:
            zeros = (quantization(graph, view).zero_point for view in (operation.left, operation.right))
            left_zero, right_zero = zeros
            scale = float(requantization(graph, operation).scale)
            yield steps.IntegerMultiply(**common, left_zero=left_zero, right_zero=right_zero, scale=scale)

    @plan.register
    def _(self, operation: Activate) -> Iterator[Step]:
        table = np.clip(np.arange(256), *limits(operation.activation, quantization(self.graph, operation.output)))
        yield self._lookup(operation, operation.input, table, str(operation.activation))

    @plan.register
    def _(self, operation: Lookup) -> Iterator[Step]:
        yield self._lookup(operation, operation.input, self.graph.constants[operation.table], "lookup")

    def _lookup(self, operation: Operation, source: View, table: np.ndarray, what: str) -> Step:
        common = self._plain(operation, source, what)
        return steps.LookupPlanes(**common, table=self.weights.add(table.astype(np.uint8), U8))

    @plan.register
    def _(self, operation: Quantize) -> Iterator[Step]:
        to = quantization(self.graph, operation.output)
        common = self._plain(operation, operation.input, "float32 → int8")
        if operation.input.tensor in self.inputs:
            common["input"] = self.from_port(operation.input)
        yield steps.QuantizePlanes(**common, scale=to.scale, zero_point=to.zero_point)

    @plan.register
    def _(self, operation: Dequantize) -> Iterator[Step]:
        of = quantization(self.graph, operation.input)
        common = self._plain(operation, operation.input, "int8 → float32")
        yield steps.DequantizePlanes(**common, scale=of.scale, zero_point=of.zero_point)

    @plan.register
    def _(self, operation: Resample) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        times = operation.times(self.graph.constants[operation.weight])
        yield steps.RepeatBytes(
            name=operation.name, comment=f"int8 {operation.axis} {times} times, {channels} channels, {height}×{width}",
            output=self.planes(operation.output), input=self.planes(operation.input), rows=height, columns=width,
            down=times if operation.axis == "rows" else 1, across=times if operation.axis == "columns" else 1,
        )  # fmt: skip

    @plan.register
    def _(self, operation: Pad) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        value = int(quantize(np.array(operation.value), quantization(self.graph, operation.output)))
        yield steps.PadBytes(
            name=operation.name, comment=f"int8 padding of {operation.value:g}, {channels} channels",
            output=self.planes(operation.output), input=self.planes(operation.input), size=(height, width),
            padding=operation.padding, value=value,
        )  # fmt: skip

    @plan.register
    def _(self, operation: Copy) -> Iterator[Step]:
        done = 0
        for number, piece in enumerate(operation.pieces):
            to = operation.output.select(range(done, done + piece.channels))
            done += piece.channels
            yield steps.CopyBytes(
                name=f"{operation.name} {number}" if number else operation.name,
                comment=f"copy of {piece.channels} planes", output=self.planes(to), input=self.planes(piece),
                size=prod(self.graph.shape(to)[1:]),
            )  # fmt: skip

    def _plain(self, operation: Operation, source: View, what: str) -> dict[str, Any]:
        channels, height, width = self.graph.shape(source)
        return {
            "name": operation.name, "comment": f"{what}, {channels} channels, {height}×{width}",
            "output": self.planes(operation.output), "input": self.planes(source), "size": height * width,
        }  # fmt: skip


def lay_out_integer_depthwise(window: Window, spare: int) -> steps.IntegerDepthwiseLayout:
    """Rows of output at a time, so that a first-level cache has them all, and two places for what they are made of."""
    width, stride = window.width, window.stride[0]
    pitch = 8 if width < 8 else (width + 16) // 16 * 16  # as in the kernel
    room = min(PADDED_BYTES, (spare - 6 * OVERHANG_BYTES - 4 * pitch) // 3)
    rows = min(window.output_height, max(1, room // (stride * pitch)))
    padded = aligned((stride * rows + 2) * pitch) + 2 * OVERHANG_BYTES
    made = aligned(rows * pitch // stride) + OVERHANG_BYTES
    return steps.IntegerDepthwiseLayout(rows, padded, 2 * padded, 2 * padded + made)


def choose_block(rows: int) -> int:
    """Rows of a block of weights: all up to 64, else a divisor if there is one; whole vectors of rows, where that can be."""
    if rows <= LARGEST_BLOCK:
        return rows
    fitting = [block for block in range(LARGEST_BLOCK // 2, LARGEST_BLOCK + 1) if rows % block == 0]
    return max(fitting or [LARGEST_BLOCK - 16], key=lambda block: (block % 16 == 0, block))


def pack_blocks(matrix: np.ndarray, blocks: tuple[Block, ...]) -> np.ndarray:
    """(groups, rows, inner) → [group][block][inner / 4][row][4], all numbers in one row."""
    inner = matrix.shape[2]
    pieces = []
    for group in matrix:
        row = 0
        for block in blocks:
            for _ in range(block.count):
                own = group[row : row + block.rows].reshape(block.rows, inner // 4, 4)
                pieces.append(own.swapaxes(0, 1).reshape(-1))
                row += block.rows
    return np.concatenate(pieces)


def _are_large(largest: np.ndarray, scale: np.ndarray) -> bool:
    """Whether sums of so much may leave int32 once they are scaled."""
    with np.errstate(over="ignore"):
        return not bool((largest * scale.astype(np.float64) < LARGE).all())


def _wrapped(sums: np.ndarray) -> np.ndarray:
    """Whole numbers as int32: sums wrap around, and come out right."""
    return (sums + 2**31) % 2**32 - 2**31


def _channel_order(read: View, written: View) -> tuple[int, ...]:
    """Which channel of a view as written each channel of a view that reads it is."""
    place = {plane: channel for channel, plane in enumerate(written.planes)}
    return tuple(place[plane] for plane in read.planes)


def works_on_codes(graph: Graph, operation: Operation) -> bool:
    """Whether any operand holds codes."""
    return any(holds_codes(graph, view) for view in (operation.output, *operation.inputs))
