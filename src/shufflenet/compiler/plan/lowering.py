"""Operations → steps: which kernel computes each, how it is tiled, and its weights packed as that kernel reads them."""

from collections.abc import Iterator
from dataclasses import fields
from functools import singledispatchmethod
from typing import Any

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32
from shufflenet.compiler.graph.ir import (
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
    Quantize,
    Resample,
    Softmax,
    View,
)
from shufflenet.compiler.plan import plane_steps, steps
from shufflenet.compiler.plan.alignment import OVERHANG_BYTES, plane_stride, whole_lines
from shufflenet.compiler.plan.blocking import (
    PRODUCT_INNER,
    chunk_pixels,
    cut_pixels,
    cut_rows,
    cut_tiles,
    pack_positions,
    pack_weights,
)
from shufflenet.compiler.plan.integer_lowering import IntegerLowering, works_on_codes
from shufflenet.compiler.plan.machines import Machine
from shufflenet.compiler.plan.operands import Buffer, Planes, Window, window_of
from shufflenet.compiler.plan.spare_memory import spare_bytes
from shufflenet.compiler.plan.stems import find_stems, lay_out_stem
from shufflenet.compiler.plan.steps import PanelProduct, Step
from shufflenet.compiler.plan.tasks import cut_product, worth
from shufflenet.compiler.plan.weights import Weights
from shufflenet.compiler.plan.winograd import Transform, choose_transform, largest_input

VECTOR_ROWS = 32  # of a block of weights that one pixel meets
PANEL_INNER = 256  # rows of a general convolution's panel, at most


class Lowering:
    """Plans operations one by one and collects the weights, packed as the kernels read them."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.graph = graph
        self.machine = machine
        self._stems = find_stems(graph)
        self._spare = spare_bytes(graph, self._stems)
        self.number = graph.number
        self.weights = Weights(graph.weight)
        self._on_codes = IntegerLowering(graph, self.weights, self._spare, self.planes, self.from_port)

    def steps(self) -> Iterator[Step]:
        fused = {name for stem in self._stems.values() for name in stem.fused}
        # Where they are: a stem and a quantization read the caller's numbers.
        copied = [op for op in self.graph.operations if op.name not in self._stems and not isinstance(op, Quantize)]
        read = {view.tensor for op in copied for view in op.inputs}
        for port in self.graph.inputs:
            if port.view.tensor in read:
                yield self._copy(f"copy {port.name}", self.from_port(port.view), port.view)
        for operation in self.graph.operations:
            if operation.name in fused:
                continue
            if isinstance(operation, Convolution) and operation.name in self._stems:
                stem = self._stems[operation.name]
                quantized = stem.quantize is not None
                yield self._on_codes.stem(operation, stem) if quantized else self._stem(operation, stem.pool)
            elif works_on_codes(self.graph, operation):
                yield from self._on_codes.plan(operation)
            else:
                yield from self.plan(operation)

    def planes(self, view: View) -> Planes:
        tensor = self.graph.tensors[view.tensor]
        stride = plane_stride(tensor.height, tensor.width, tensor.element)
        return Planes(Buffer(view.tensor), view.planes, stride, tensor.element)

    def from_port(self, view: View) -> Planes:
        """The same planes in the caller's memory, where they follow one another without room between."""
        tensor = self.graph.tensors[view.tensor]
        return Planes(Buffer(view.tensor, "port"), view.planes, tensor.height * tensor.width, FLOAT32)

    @singledispatchmethod
    def plan(self, operation: Operation) -> Iterator[Step]:
        raise TypeError(f"{type(operation).__name__} has no plan")

    @plan.register
    def _(self, operation: Convolution) -> Iterator[Step]:
        channels, _, _ = self.graph.shape(operation.input)
        out, output_height, output_width = self.graph.shape(operation.output)
        weight = self.graph.constants[operation.weight]
        window = window_of(self.graph, operation)
        one_number = output_height * output_width == 1
        pointwise = (window.kernel, window.stride, operation.padding) == ((1, 1), (1, 1), (0, 0, 0, 0))
        if operation.groups == channels == out and (not one_number or weight[0].size == 1):
            yield self._depthwise(operation, window)
        elif one_number:
            yield self._vector_product(operation, window)
        elif pointwise and self.planes(operation.input).spacing is not None:
            yield self._product(operation)
        else:
            direct = self._panel_product(operation, window)
            # Transformed weights are 2.25 to 4 times as many, and too coarse in halves.
            dense = window.stride == window.dilation == (1, 1) and self.graph.weight == FLOAT32
            transform = choose_transform(weight, operation.groups, (output_height, output_width)) if dense else None
            yield self._winograd_product(direct, weight, transform) if transform else direct

    def _depthwise(self, operation: Convolution, window: Window) -> Step:
        common = self._convolution(operation)
        common["comment"] = f"depthwise {common['comment']}"
        weights, bias = (
            self.weights.add(self.graph.constants[operation.weight]),
            self.weights.add(self._bias(operation)),
        )
        direct = window.is_direct and operation.addend is None
        return steps.Depthwise(**common, window=window, direct=direct, weights=weights, bias=bias)

    def _vector_product(self, operation: Convolution, window: Window) -> Step:
        matrix, bias = self._matrix(operation), self._bias(operation)
        groups, rows, inner = matrix.shape
        in_order = operation.input.is_contiguous
        gather = (window.height, window.width) != (1, 1) or window.kernel != (1, 1) or not in_order
        padded = -(-rows // VECTOR_ROWS) * VECTOR_ROWS
        packed = np.zeros((groups, padded, inner), np.float32)
        packed[:, :rows] = matrix
        padded_bias = np.zeros((groups, padded), np.float32)
        padded_bias[:, :rows] = bias.reshape(groups, rows)
        return steps.VectorProduct(
            **self._convolution(operation), window=window, groups=groups, inner=inner, rows=rows, block=VECTOR_ROWS,
            gather=gather,
            scratch_bytes=inner * self.number.bytes + OVERHANG_BYTES if gather else 0,
            weights=self.weights.add(packed.reshape(groups, -1, VECTOR_ROWS, inner).swapaxes(2, 3)),
            bias=self.weights.add(padded_bias),
        )  # fmt: skip

    def _product(self, operation: Convolution) -> Step:
        matrix = self._matrix(operation)
        groups, rows, inner = matrix.shape
        _, height, width = self.graph.shape(operation.output)
        pixels = height * width
        part = -(-inner // -(-inner // PRODUCT_INNER))
        moved = groups * (inner + rows) * pixels * self.number.bytes
        far = moved > self.machine.far_bytes
        wanted = worth(self.machine, matrix.size * pixels, moved)
        row_pieces, pieces = cut_product(groups, rows, pixels * self.number.bytes, wanted)
        most = chunk_pixels(inner, self.number, self.machine.chunk_bytes) if far else pixels
        chunks = cut_pixels(rows // row_pieces, pixels, most, pieces=pieces, element=self.number)
        matrix = matrix.reshape(groups * row_pieces, -1, inner)
        return steps.Product(
            **self._convolution(operation), groups=groups, inner=inner, part=part, chunks=chunks, far=far, row_pieces=row_pieces,
            weights=self.weights.add(pack_weights(matrix, part, chunks[0].blocks)),
            bias=self.weights.add(self._bias(operation)),
        )  # fmt: skip

    def _panel_product(self, operation: Convolution, window: Window) -> PanelProduct:
        matrix = self._matrix(operation)
        groups, rows, inner = matrix.shape
        most_inner = PANEL_INNER if self.weights.element == FLOAT32 else PRODUCT_INNER
        panel_inner = -(-inner // -(-inner // most_inner))
        spare = self._spare[operation.name] - panel_inner * OVERHANG_BYTES
        most = chunk_pixels(panel_inner, self.number, self.machine.chunk_bytes, spare)
        chunks = cut_pixels(rows, window.output_height * window.output_width, most, element=self.number)
        stride = whole_lines(chunks[0].count, self.number) + self.number.count(OVERHANG_BYTES)
        return PanelProduct(
            **self._convolution(operation), window=window, groups=groups, inner=inner, panel_inner=panel_inner,
            panel_stride=stride, scratch_bytes=panel_inner * stride * self.number.bytes, chunks=chunks,
            weights=self.weights.add(pack_weights(matrix, panel_inner, chunks[0].blocks)),
            bias=self.weights.add(self._bias(operation)),
        )  # fmt: skip

    def _winograd_product(self, direct: PanelProduct, weight: np.ndarray, transform: Transform) -> Step:
        rows, inner = weight.shape[0] // direct.groups, weight.shape[1]
        size = direct.window.output_height, direct.window.output_width
        chunks, layout = cut_tiles(transform, rows, inner, size, self._spare[direct.name])
        blocks = chunks[0].blocks
        part = -(-inner // -(-inner // PRODUCT_INNER))
        transformed = [transform.weights(group) for group in np.split(weight, direct.groups)]
        usual = {field.name: getattr(direct, field.name) for field in fields(direct)}
        usual["comment"] += ", Winograd"
        usual["scratch_bytes"] = max(direct.scratch_bytes, layout.floats * FLOAT32.bytes)
        return steps.WinogradProduct(
            **usual, transform=transform, largest_input=min(largest_input(transform, group) for group in transformed),
            layout=layout, tile_chunks=chunks, part=part,
            tile_weights=self.weights.add(
                np.concatenate([pack_positions(group, part, blocks) for group in transformed])),
        )  # fmt: skip

    def _convolution(self, operation: Convolution) -> dict[str, Any]:
        """What every convolution's step has."""
        weight, groups = self.graph.constants[operation.weight], operation.groups
        channels, _, _ = self.graph.shape(operation.input)
        out, height, width = self.graph.shape(operation.output)
        kernel = "×".join(map(str, weight.shape[2:]))
        comment = f"{kernel} convolution, {channels} → {out} channels, {height}×{width}"
        comment += f", {groups} groups" if groups > 1 else ""
        comment += f", {operation.activation}" if operation.activation else ""
        return {
            "name": operation.name,
            "comment": comment,
            "output": self.planes(operation.output),
            "activation": operation.activation,
            "addend": self.planes(operation.addend) if operation.addend else None,
            "input": self.planes(operation.input),
            "work": weight[0].size * out * height * width,
        }

    def _matrix(self, operation: Convolution) -> np.ndarray:
        """The weights as (groups, rows, inner)."""
        weight = self.graph.constants[operation.weight]
        return weight.reshape(operation.groups, weight.shape[0] // operation.groups, weight[0].size)

    def _bias(self, operation: Convolution) -> np.ndarray:
        if operation.bias is None:
            return np.zeros(self.graph.constants[operation.weight].shape[0], np.float32)
        return self.graph.constants[operation.bias]

    @plan.register
    def _(self, operation: Pool) -> Iterator[Step]:
        channels, output_height, output_width = self.graph.shape(operation.output)
        window = window_of(self.graph, operation)
        comment = f"{operation.kind} pool {'×'.join(map(str, window.kernel))}, {channels} channels, {output_height}×{output_width}"
        largest = operation.kind == "max"
        if not largest and operation.counts_padding and operation.padding == (1, 1, 1, 1) and window.is_direct:
            # The shortcut of a stride-2 unit: every window counts 9 numbers, so this is a depthwise convolution.
            yield steps.Depthwise(
                name=operation.name, comment=comment, output=self.planes(operation.output),
                activation=operation.activation, input=self.planes(operation.input), addend=None,
                window=window, direct=True,
                weights=self.weights.add(np.full((channels, 9), 1 / 9, np.float32)), bias=self.weights.add(np.zeros(channels)),
            )  # fmt: skip
            return
        rows, columns = (
            _counts(size, out, operation.kernel[a], operation.stride[a], operation.padding[a], operation.padding[a + 2],
                    operation.dilation[a], operation.counts_padding)
            for a, (size, out) in enumerate(((window.height, output_height), (window.width, output_width)))
        )  # fmt: skip
        overhang = self.number.count(OVERHANG_BYTES)
        reach = (output_width + overhang + 1) * window.stride[1] + window.kernel[1] * window.dilation[1]
        yield plane_steps.PoolPlanes(
            name=operation.name,
            comment=comment,
            output=self.planes(operation.output),
            activation=operation.activation,
            largest=largest,
            input=self.planes(operation.input),
            window=window,
            row_scale=tuple(1 / n for n in rows),
            column_scale=(*(1 / n for n in columns), *(0.0,) * overhang),
            scratch_bytes=FLOAT32.bytes * (window.padding[1] + max(reach, window.width + 2 * overhang)),
        )

    @plan.register
    def _(self, operation: GlobalPool) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        yield plane_steps.Reduce(
            name=operation.name,
            comment=f"{operation.kind} of each of {channels} planes, {height}×{width}",
            output=self.planes(operation.output),
            activation=operation.activation,
            largest=operation.kind == "max",
            input=self.planes(operation.input),
            size=height * width,
        )

    @plan.register
    def _(self, operation: Resample) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        _, output_height, output_width = self.graph.shape(operation.output)
        from_left = operation.axis == "rows"
        inner = height if from_left else width
        weight = self.graph.constants[operation.weight]
        times = operation.times(weight)
        if times:
            yield plane_steps.RepeatPlanes(
                name=operation.name,
                comment=f"{operation.axis} {times} times, {channels} channels, {output_height}×{output_width}",
                output=self.planes(operation.output),
                input=self.planes(operation.input),
                rows=height,
                columns=width,
                down=times if from_left else 1,
                across=1 if from_left else times,
            )
            return
        yield plane_steps.ResamplePlanes(
            name=operation.name,
            comment=f"weighted sums of {operation.axis}, {channels} channels, {output_height}×{output_width}",
            output=self.planes(operation.output),
            input=self.planes(operation.input),
            bands=_bands(weight),
            from_left=from_left,
            rows=output_height,
            inner=inner,
            columns=output_width,
            weights=self.weights.add(weight),
            work=channels * output_height * output_width * inner,
        )

    @plan.register
    def _(self, operation: Elementwise) -> Iterator[Step]:
        left, right = self.graph.shape(operation.left), self.graph.shape(operation.right)
        yield plane_steps.Combine(
            name=operation.name,
            comment=f"{operation.kind}, {left[0]} channels, {left[1]}×{left[2]}",
            output=self.planes(operation.output),
            activation=operation.activation,
            multiply=operation.kind == "multiply",
            left=self.planes(operation.left),
            right=self.planes(operation.right),
            right_is_number=right[1:] != left[1:],
            addend=self.planes(operation.addend) if operation.addend else None,
            size=left[1] * left[2],
        )

    @plan.register
    def _(self, operation: Activate) -> Iterator[Step]:
        yield plane_steps.ActivatePlanes(
            activation=operation.activation, **self._plain(operation, operation.input, str(operation.activation))
        )

    @plan.register
    def _(self, operation: LocalResponseNormalization) -> Iterator[Step]:
        yield plane_steps.LocalResponse(
            **self._plain(operation, operation.input, "local response normalization"),
            before=(operation.size - 1) // 2,
            after=operation.size // 2,
            scale=operation.alpha / operation.size,
            beta=operation.beta,
            bias=operation.bias,
        )

    @plan.register
    def _(self, operation: Softmax) -> Iterator[Step]:
        yield plane_steps.SoftmaxPlanes(**self._plain(operation, operation.input, "softmax"))

    @plan.register
    def _(self, operation: Pad) -> Iterator[Step]:
        channels, height, width = self.graph.shape(operation.input)
        yield plane_steps.PadPlanes(
            name=operation.name,
            comment=f"padding of {operation.value:g}, {channels} channels",
            output=self.planes(operation.output),
            input=self.planes(operation.input),
            size=(height, width),
            padding=operation.padding,
            value=operation.value,
        )

    @plan.register
    def _(self, operation: Copy) -> Iterator[Step]:
        done = 0
        for number, piece in enumerate(operation.pieces):
            to = operation.output.select(range(done, done + piece.channels))
            done += piece.channels
            yield self._copy(f"{operation.name} {number}" if number else operation.name, self.planes(piece), to)

    def _copy(self, name: str, source: Planes, to: View) -> Step:
        channels, height, width = self.graph.shape(to)
        return plane_steps.CopyPlanes(
            name=name, comment=f"copy of {channels} planes", output=self.planes(to), input=source, size=height * width
        )

    def _plain(self, operation: Operation, source: View, what: str) -> dict:
        channels, height, width = self.graph.shape(source)
        return {
            "name": operation.name,
            "comment": f"{what}, {channels} channels, {height}×{width}",
            "output": self.planes(operation.output),
            "input": self.planes(source),
            "size": height * width,
        }

    def _stem(self, operation: Convolution, pool: Pool | None) -> Step:
        weight = self.graph.constants[operation.weight]
        channels, height, width = self.graph.shape(operation.input)
        filters, conv_height, conv_width = self.graph.shape(operation.output)
        layout = lay_out_stem(channels, width, filters, conv_width, self.number, pooled=pool is not None)
        blocks = cut_rows(filters, conv_width, element=self.number, single_pixels=False)
        usual: dict[str, Any] = self._convolution(operation) | {"input": self.from_port(operation.input)}
        del usual["addend"]
        pooled_size = None
        if pool:
            pooled_size = self.graph.shape(pool.output)[1:]
            what = f"3×3 convolution, {channels} → {filters} channels, and max pool, {'×'.join(map(str, pooled_size))}"
            usual |= {"output": self.planes(pool.output), "comment": f"stem: {what}"}
        return steps.Stem(
            **usual,
            channels=channels,
            filters=filters,
            size=(height, width),
            convolution_size=(conv_height, conv_width),
            pooled_size=pooled_size,
            layout=layout,
            blocks=blocks,
            scratch_bytes=layout.numbers * self.number.bytes,
            weights=self.weights.add(pack_weights(self._matrix(operation), weight[0].size, blocks)),
            bias=self.weights.add(self._bias(operation)),
        )  # fmt: skip


def _counts(
    size: int, out: int, kernel: int, stride: int, before: int, after: int, dilation: int, counts_padding: bool
) -> list[int]:
    """How many numbers each window along one axis counts for a mean."""
    low, high = (-before, size + after) if counts_padding else (0, size)
    return [sum(low <= i * stride - before + tap * dilation < high for tap in range(kernel)) for i in range(out)]


def _bands(weight: np.ndarray) -> tuple[int, ...]:
    """First and end of the numbers of each row that are not 0."""
    found = (np.flatnonzero(row) for row in weight)
    return tuple(int(n) for places in found for n in ((places[0], places[-1] + 1) if len(places) else (0, 0)))
