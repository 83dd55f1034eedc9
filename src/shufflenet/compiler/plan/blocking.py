"""Cache blocking: a product cut into chunks of pixels and blocks of rows, and its weights packed in the order in which those come."""

from itertools import accumulate
from math import inf

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.graph.ir import Pair
from shufflenet.compiler.plan.alignment import VECTOR_BYTES
from shufflenet.compiler.plan.machines import UNITS
from shufflenet.compiler.plan.operands import Block, Chunks
from shufflenet.compiler.plan.tiles import choose_block, choose_tiling
from shufflenet.compiler.plan.winograd import LANES, Transform, WinogradLayout, chunk_rows, lay_out

PRODUCT_INNER = 128  # input planes at a time: a tile's pixels and a block's weights then fit a first-level cache


def chunk_step(element: Element) -> int:
    """A chunk of pixels is a multiple of so many: whole tiles of 3 of the widest vectors."""
    return element.count(3 * VECTOR_BYTES)


def cut_rows(
    rows: int, pixels: int, block: int | None = None, *, element: Element = FLOAT32, single_pixels: bool = True
) -> tuple[Block, ...]:
    """Rows cut into blocks of weights, and the tiles of each; the last one may be smaller."""
    block = block or choose_block(rows, pixels, element, single_pixels=single_pixels)
    parts = [(rows // block, block), (1, rows % block)]
    return tuple(
        Block(
            count,
            part,
            tuple(choose_tiling(part, pixels, unit, single_pixels=single_pixels) for unit in UNITS[element.name]),
        )
        for count, part in parts
        if count and part
    )


def chunk_pixels(inner: int, element: Element, chunk_bytes: int, most_bytes: float = inf) -> int:
    """How many pixels of so many input planes make a chunk: whole tiles, or whole vectors where memory for it is short."""
    pixels = int(min(chunk_bytes, most_bytes)) // (inner * element.bytes)
    step = chunk_step(element)
    if pixels < step and most_bytes < chunk_bytes:
        step = element.count(VECTOR_BYTES)
    return max(1, pixels // step) * step


def cut_pixels(
    rows: int,
    count: int,
    most: int,
    *,
    each: int = 1,
    pieces: int = 1,
    block: int | None = None,
    element: Element = FLOAT32,
    single_pixels: bool = True,
) -> tuple[Chunks, ...]:
    """All pixels, or all rows of `each` tiles, at most `most` at a time; the last chunk may be smaller. At least so many `pieces`.

    The blocks of weights are the same for all: of `block` rows, where the weights are packed already.
    """
    size, last = min(count, most), count % min(count, most)
    spans = [(0, count - last, size), (count - last, count, last)]
    if pieces > -(-count // size):
        spans = even_spans(count, pieces, element)
    block = block or choose_block(rows, spans[0][2] * each, element, single_pixels=single_pixels)
    return tuple(
        Chunks(first, end, step, cut_rows(rows, step * each, block, element=element, single_pixels=single_pixels))
        for first, end, step in spans
        if step
    )


def even_spans(count: int, pieces: int, element: Element = FLOAT32) -> list[tuple[int, int, int]]:
    """(first, end, size) of pieces as even as whole vectors allow; of many vectors each, as whole tiles do. The last has the rest."""
    each = chunk_step(element) if count >= 8 * chunk_step(element) * pieces else element.count(VECTOR_BYTES)
    small, larger = divmod(count // each, pieces)
    sizes = [each * (small + 1)] * larger + [each * small] * (pieces - larger)
    sizes[-1] += count % each
    ends = list(accumulate(sizes))
    return [
        (ends[i] - sizes[i], ends[i + sizes.count(sizes[i]) - 1], sizes[i])
        for i in map(sizes.index, dict.fromkeys(sizes))
    ]


def cut_tiles(
    transform: Transform, rows: int, inner: int, size: Pair, spare: int
) -> tuple[tuple[Chunks, ...], WinogradLayout]:
    """Chunks of rows of tiles, and how they lie in scratch: smaller where `spare` bytes are too few, but of a vector of tiles at least."""
    tile_rows, columns = transform.tiles(size)
    most, least = chunk_rows(transform, inner, size), max(1, LANES // columns)
    while True:
        chunks = cut_pixels(rows, tile_rows, most, each=columns)
        layout = lay_out(transform, (chunks[0].count, columns), inner, chunks[0].blocks[0].rows)
        if most <= least or layout.floats * FLOAT32.bytes <= spare:
            return chunks, layout
        most -= 1


def pack_positions(matrices: np.ndarray, part: int, blocks: tuple[Block, ...]) -> np.ndarray:
    """(positions, rows, inner) → [block][position][part of inner][inner][row], all numbers in one row."""
    pieces, row = [], 0
    for block in blocks:
        for _ in range(block.count):
            pieces.append(pack_weights(matrices[:, row : row + block.rows], part, (Block(1, block.rows, ()),)))
            row += block.rows
    return np.concatenate(pieces)


def pack_weights(matrix: np.ndarray, part: int, blocks: tuple[Block, ...]) -> np.ndarray:
    """(groups, rows, inner) → [group][part of inner][block][inner][row], all numbers in one row."""
    groups, _, inner = matrix.shape
    pieces = []
    for group in range(groups):
        for first in range(0, inner, part):
            row = 0
            for block in blocks:
                for _ in range(block.count):
                    pieces.append(matrix[group, row : row + block.rows, first : first + part].T.reshape(-1))
                    row += block.rows
    return np.concatenate(pieces)
