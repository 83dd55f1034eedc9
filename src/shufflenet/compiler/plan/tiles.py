"""Tiles of a matrix product: how many rows × vectors of sums are held in registers, for each vector unit."""

from dataclasses import dataclass
from functools import cache

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.plan.machines import UNITS, VectorUnit

MOST_ROWS, MOST_VECTORS = 24, 8  # the array sizes in kernels/product.c
CALL = 0.08  # of a tile's time: what a second shape of tile costs in calls and cold code


@dataclass(frozen=True)
class Tiles:
    """Tiles of `rows` × `vectors` over rows [row, end_row) and vectors [vector, end_vector)."""

    rows: int
    vectors: int
    row: int
    end_row: int
    vector: int
    end_vector: int


@dataclass(frozen=True)
class PixelTiles:
    """Pixels [pixel, end_pixel), `pixels` at a time, of all rows: those that a plane has beyond whole vectors.

    They are vectorised over rows, `vectors` of them, and summed up in `chains` interleaved parts.
    """

    pixels: int
    vectors: int
    chains: int
    pixel: int
    end_pixel: int


@dataclass(frozen=True)
class Tiling:
    """All tiles of a block of rows × pixels."""

    tiles: tuple[Tiles, ...]
    pixel_tiles: tuple[PixelTiles, ...]
    cost: float  # vector multiply-adds' time per input plane


def fits(rows: int, vectors: int, unit: VectorUnit) -> bool:
    """Whether the sums, a vector of pixels for each column, and weights have registers."""
    return (
        rows <= MOST_ROWS
        and vectors <= MOST_VECTORS
        and rows * vectors + vectors + unit.spare_registers <= unit.registers
    )


def tile_cost(rows: int, vectors: int, unit: VectorUnit) -> float:
    """Time of one tile per input plane: multiply-adds, loads, or latency, whichever binds; all instructions where none is fused."""
    multiply_adds, loads = rows * vectors, rows + vectors
    if not unit.fused:
        multiply_adds += rows + vectors / 2 + 1
    return max(multiply_adds, loads, unit.latency) + CALL * loads


@cache
def split_rows(rows: int, vectors: int, unit: VectorUnit, most: int = MOST_ROWS) -> tuple[float, tuple[int, int]]:
    """The cheapest tile height for `rows` rows, and that of the last tile (0: none): cost, (height, last)."""
    return min(
        (
            rows // r * tile_cost(r, vectors, unit) + (tile_cost(rows % r, vectors, unit) if rows % r else 0),
            (r, rows % r),
        )
        for r in range(1, min(rows, most) + 1)
        if fits(r, vectors, unit)
    )


def row_tiles(rows: int, vectors: int, most: int, unit: VectorUnit) -> Tiling:
    """Tiles of so many vectors, all alike but for the last, and of `most` rows."""
    cost, split = split_rows(rows, vectors, unit, most)
    return Tiling(_tiles(split, rows, vectors, 0, vectors), (), cost)


def choose_chains(pixels: int, vectors: int, unit: VectorUnit) -> int:
    """The fewest sums side by side that hide the latency of an addition; fewer than that where registers end."""
    chains = 1
    while chains < 4 and chains * pixels * vectors < unit.latency and fits(2 * chains * vectors, pixels, unit):
        chains *= 2
    return chains


def split_pixels(rows: int, first: int, end: int, unit: VectorUnit) -> tuple[float, tuple[PixelTiles, ...]]:
    """Pixels [first, end): as many at a time as registers allow, then the rest. What that costs, and the tiles."""
    vectors = -(-rows // unit.lanes)
    most = max(pixels for pixels in range(1, end - first + 1) if fits(vectors, pixels, unit))
    whole = end - (end - first) % most
    tiles = tuple(
        PixelTiles(pixels, vectors, choose_chains(pixels, vectors, unit), pixel, last)
        for pixels, pixel, last in ((most, first, whole), (end - whole, whole, end))
        if pixels
    )
    cost = sum(
        (t.end_pixel - t.pixel) / t.pixels
        * (max(t.pixels * vectors, unit.latency / t.chains) + CALL * (t.pixels + vectors) + 1)
        for t in tiles
    )  # fmt: skip
    return cost, tiles


@cache
def choose_tiling(rows: int, pixels: int, unit: VectorUnit, *, single_pixels: bool = True) -> Tiling:
    """The cheapest tiling with at most two tile widths."""
    widths = [v for v in range(1, MOST_VECTORS + 1) if fits(1, v, unit)]
    best: Tiling | None = None
    tail = pixels % unit.lanes
    for by_pixel in {0, tail if single_pixels and pixels > tail and unit.lanes > 1 else 0}:
        count = pixels // unit.lanes if by_pixel else -(-pixels // unit.lanes)
        if by_pixel and not fits(-(-rows // unit.lanes), 1, unit):
            continue
        pixel_cost, pixel_tiles = split_pixels(rows, pixels - by_pixel, pixels, unit) if by_pixel else (0.0, ())
        for wide in widths:
            for narrow in widths[:wide]:
                few, remainder = divmod(count % wide if wide > narrow else count, narrow)
                many = count // wide if wide > narrow else 0
                # Trade wide tiles for narrow ones until the rest comes out even.
                while remainder and many:
                    many -= 1
                    few, remainder = divmod(count - many * wide, narrow)
                if remainder:
                    continue
                (many_cost, many_rows), (few_cost, few_rows) = (split_rows(rows, v, unit) for v in (wide, narrow))
                cost = many * many_cost + few * few_cost + pixel_cost
                if best is None or cost < best.cost:
                    tiles = (
                        *_tiles(many_rows, rows, wide, 0, many * wide),
                        *_tiles(few_rows, rows, narrow, many * wide, count),
                    )
                    best = Tiling(tiles, pixel_tiles, cost)
    assert best is not None
    return best


def _tiles(split: tuple[int, int], rows: int, vectors: int, vector: int, end_vector: int) -> tuple[Tiles, ...]:
    if vector == end_vector:
        return ()
    height, last = split
    whole = Tiles(height, vectors, 0, rows - last, vector, end_vector)
    return (whole, Tiles(last, vectors, rows - last, rows, vector, end_vector)) if last else (whole,)


@cache
def choose_block(rows: int, pixels: int, element: Element = FLOAT32, *, single_pixels: bool = True) -> int:
    """Rows of a block of weights: all up to 48, else a divisor if there is one, that suits the first two units best."""
    if rows <= 48:
        return rows
    blocks = [block for block in range(16, 49) if rows % block == 0] or range(16, 49)

    def cost(block: int) -> float:
        whole, rest = divmod(rows, block)
        return sum(
            unit.lanes * choose_tiling(part, pixels, unit, single_pixels=single_pixels).cost * count
            for unit in UNITS[element.name][:2]
            for part, count in ((block, whole), (rest, 1))
            if part
        )

    return min(blocks, key=lambda block: (round(cost(block), 3), -block))
