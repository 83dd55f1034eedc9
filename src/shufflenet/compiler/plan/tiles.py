"""Tiles of a matrix product: how many rows × vectors of sums are held in registers, for each kind of machine."""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Machine:
    """A vector unit as the C source sees it: `condition` is the preprocessor's."""

    name: str
    condition: str
    lanes: int
    registers: int
    spare_registers: int  # beside sums and pixels, for weights; with one alone clang spills a sum in the inner loop
    fused: bool = True  # multiply and add are one instruction


MACHINES = (
    Machine("AVX-512", "LANES == 16", 16, 32, spare_registers=3),
    Machine("AVX2", "LANES == 8", 8, 16, spare_registers=2),
    Machine("NEON", "LANES == 4 && REGISTERS == 32", 4, 32, spare_registers=3),
    # A JIT keeps a register for itself, and computes the address of every weight.
    Machine("WebAssembly", "defined __wasm_simd128__ && LANES == 4", 4, 15, spare_registers=2, fused=False),
    Machine("SSE2", "LANES == 4", 4, 16, spare_registers=2),
    Machine("scalar", "LANES == 1", 1, 16, spare_registers=2),
)

MOST_ROWS, MOST_VECTORS = 24, 8  # the array sizes in kernels/product.c
LATENCY = 8  # products in flight that keep two multiply-add units busy
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


def fits(rows: int, vectors: int, machine: Machine) -> bool:
    """Whether the sums, a vector of pixels for each column, and weights have registers."""
    return (
        rows <= MOST_ROWS
        and vectors <= MOST_VECTORS
        and rows * vectors + vectors + machine.spare_registers <= machine.registers
    )


def tile_cost(rows: int, vectors: int, machine: Machine) -> float:
    """Time of one tile per input plane: multiply-adds, loads, or latency, whichever binds; all instructions where none is fused."""
    multiply_adds, loads, latency = rows * vectors, rows + vectors, LATENCY
    if not machine.fused:
        multiply_adds, latency = multiply_adds + rows + vectors / 2 + 1, 1.5 * LATENCY
    return max(multiply_adds, loads, latency) + CALL * loads


@cache
def split_rows(rows: int, vectors: int, machine: Machine) -> tuple[float, tuple[int, int]]:
    """The cheapest tile height for `rows` rows, and that of the last tile (0: none): cost, (height, last)."""
    return min(
        (
            rows // r * tile_cost(r, vectors, machine) + (tile_cost(rows % r, vectors, machine) if rows % r else 0),
            (r, rows % r),
        )
        for r in range(1, min(rows, MOST_ROWS) + 1)
        if fits(r, vectors, machine)
    )


def choose_chains(pixels: int, vectors: int, machine: Machine) -> int:
    """The fewest sums side by side that hide the latency of an addition; fewer than that where registers end."""
    chains = 1
    while chains < 4 and chains * pixels * vectors < LATENCY and fits(2 * chains * vectors, pixels, machine):
        chains *= 2
    return chains


def split_pixels(rows: int, first: int, end: int, machine: Machine) -> tuple[float, tuple[PixelTiles, ...]]:
    """Pixels [first, end): as many at a time as registers allow, then the rest. What that costs, and the tiles."""
    vectors = -(-rows // machine.lanes)
    most = max(pixels for pixels in range(1, end - first + 1) if fits(vectors, pixels, machine))
    whole = end - (end - first) % most
    tiles = tuple(
        PixelTiles(pixels, vectors, choose_chains(pixels, vectors, machine), pixel, last)
        for pixels, pixel, last in ((most, first, whole), (end - whole, whole, end))
        if pixels
    )
    cost = sum(
        (t.end_pixel - t.pixel) / t.pixels
        * (max(t.pixels * vectors, LATENCY / t.chains) + CALL * (t.pixels + vectors) + 1)
        for t in tiles
    )  # fmt: skip
    return cost, tiles


@cache
def choose_tiling(rows: int, pixels: int, machine: Machine, *, single_pixels: bool = True) -> Tiling:
    """The cheapest tiling with at most two tile widths."""
    widths = [v for v in range(1, MOST_VECTORS + 1) if fits(1, v, machine)]
    best: Tiling | None = None
    tail = pixels % machine.lanes
    for by_pixel in {0, tail if single_pixels and pixels > tail and machine.lanes > 1 else 0}:
        count = pixels // machine.lanes if by_pixel else -(-pixels // machine.lanes)
        if by_pixel and not fits(-(-rows // machine.lanes), 1, machine):
            continue
        pixel_cost, pixel_tiles = split_pixels(rows, pixels - by_pixel, pixels, machine) if by_pixel else (0.0, ())
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
                (many_cost, many_rows), (few_cost, few_rows) = (split_rows(rows, v, machine) for v in (wide, narrow))
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
def choose_block(rows: int, pixels: int, *, single_pixels: bool = True) -> int:
    """Rows of a block of weights: all up to 48, else a divisor if there is one, that suits AVX-512 and AVX2 best."""
    if rows <= 48:
        return rows
    blocks = [block for block in range(16, 49) if rows % block == 0] or range(16, 49)

    def cost(block: int) -> float:
        whole, rest = divmod(rows, block)
        return sum(
            machine.lanes * choose_tiling(part, pixels, machine, single_pixels=single_pixels).cost * count
            for machine in MACHINES[:2]
            for part, count in ((block, whole), (rest, 1))
            if part
        )

    return min(blocks, key=lambda block: (round(cost(block), 3), -block))
