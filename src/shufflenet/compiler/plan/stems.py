"""Which convolutions of a network's picture kernels/stem.c can make in one pass, each with its max-pool, and in what scratch."""

from dataclasses import dataclass

import numpy as np

from shufflenet.compiler.graph.elements import INT32, Element
from shufflenet.compiler.graph.integers import holds_codes, requantization
from shufflenet.compiler.graph.ir import Convolution, Graph, Operation, Pool, Quantize, output_size
from shufflenet.compiler.plan.alignment import OVERHANG_BYTES, VECTOR_BYTES, aligned, whole_lines

MOST_CHANNELS = 4  # of a picture: a panel of so few rows takes as long to pack as to multiply


@dataclass(frozen=True)
class FoundStem:
    """What is computed with a network's first convolution: the codes of its picture before it, the largest of its windows after it."""

    quantize: Quantize | None
    pool: Pool | None

    @property
    def fused(self) -> set[str]:
        """The operations that are no steps of their own."""
        return {operation.name for operation in (self.quantize, self.pool) if operation}


def find_stems(graph: Graph) -> dict[str, FoundStem]:
    """The 3×3/2 convolutions of a network input, or of its codes, by name, each with the 3×3/2 max-pool that alone reads it."""
    readers: dict[str, list[Operation]] = {}
    for operation in graph.operations:
        for view in operation.inputs:
            readers.setdefault(view.tensor, []).append(operation)
    inputs, results = ({port.view.tensor for port in ports} for ports in (graph.inputs, graph.outputs))
    codes = {
        operation.output.tensor: operation
        for operation in graph.operations
        if isinstance(operation, Quantize)
        and operation.input.tensor in inputs
        and len(readers.get(operation.output.tensor, [])) == 1
    }
    stems: dict[str, FoundStem] = {}
    for operation in graph.operations:
        match operation:
            case Convolution(stride=(2, 2), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1, addend=None) if (
                (
                    operation.input.tensor in inputs
                    or (operation.input.tensor in codes and _keeps_order(graph, operation))
                )
                and operation.input.channels <= MOST_CHANNELS
                and graph.constants[operation.weight].shape[2:] == (3, 3)
            ):
                tensor = operation.output.tensor
                pool = None if tensor in results else _pool(graph, operation, readers.get(tensor, []))
                stems[operation.name] = FoundStem(codes.get(operation.input.tensor), pool)
    return stems


def _keeps_order(graph: Graph, convolution: Convolution) -> bool:
    """Whether the larger of two sums of codes has the larger code: then a pool may come before the codes."""
    if not holds_codes(graph, convolution.output):
        return False
    scale = requantization(graph, convolution).scale
    return bool((np.isfinite(scale) & (scale >= 0)).all())


def _pool(graph: Graph, convolution: Convolution, readers: list[Operation]) -> Pool | None:
    match readers:
        case [
            Pool(
                kind="max",
                kernel=(3, 3) as kernel,
                stride=(2, 2) as stride,
                padding=(1, 1, 1, 1) as padding,
                dilation=(1, 1) as dilation,
                activation=None,
            ) as pool
        ] if pool.input == convolution.output:
            _, *size = graph.shape(pool.input)
            within = output_size((size[0], size[1]), kernel, stride, padding, dilation)
            return pool if graph.shape(pool.output)[1:] == within else None  # in ceil mode, windows may overhang
    return None


@dataclass(frozen=True)
class StemLayout:
    """A stem's scratch, in numbers: rows of the picture split into odd and even columns, convolution rows, a row of the picture.

    A slot holds one row of the picture, a split row for each channel; in that, `odd` and `even` are where the columns begin.
    """

    odd: int
    even: int
    split: int  # from one channel's split row to the next one's
    slot: int  # from one slot to the next
    row: int  # from one filter's convolution row to the next one's
    rows: int  # where convolution rows begin
    buffer: int  # where the row of the picture begins
    numbers: int

    @property
    def taps(self) -> tuple[int, ...]:
        """Where in a split row what each column of the kernel meets begins."""
        return self.odd - 1, self.even, self.odd


def lay_out_stem(
    channels: int, width: int, filters: int, columns: int, element: Element, *, pooled: bool
) -> StemLayout:
    """For pictures `width` wide and convolution rows of `columns`. Five rows of a picture make two of the convolution for a pool."""
    slots, rows = (5, 3) if pooled else (3, 1)
    overhang = element.count(OVERHANG_BYTES)
    segment = whole_lines(columns, element) + overhang
    split, row = 2 * segment + overhang, segment + overhang
    first_row = slots * channels * split
    buffer = first_row + rows * filters * row + overhang
    return StemLayout(
        odd=overhang, even=overhang + segment, split=split, slot=channels * split, row=row, rows=first_row,
        buffer=buffer, numbers=buffer + width + 3 * overhang,
    )  # fmt: skip


@dataclass(frozen=True)
class IntegerStemLayout:
    """An integer stem's scratch, in bytes: five rows of codes from its beginning on, and where the others begin; `line` in sums."""

    pitch: int
    line: int
    wide: int
    above: int
    bytes: int


def lay_out_integer_stem(channels: int, filters: int, columns: int, *, pooled: bool) -> IntegerStemLayout:
    """For convolution rows of `columns`. A vector of bytes has two columns in each sum's lane."""
    lanes = INT32.count(VECTOR_BYTES)
    vectors = -(-columns // (2 * lanes))
    pitch, line = (vectors + 1) * VECTOR_BYTES, vectors * lanes
    wide = aligned(5 * channels * pitch)
    above = wide + aligned(3 * channels * filters * 3 * INT32.bytes)
    return IntegerStemLayout(pitch, line, wide, above, above + 2 * filters * line * INT32.bytes * pooled)
