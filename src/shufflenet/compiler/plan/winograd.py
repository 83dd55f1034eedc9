"""Winograd's convolution: fewer multiplications, by way of polynomials at a few points (Lavin & Gray 2015, arXiv 1509.09308).

A tile of m × m outputs of an r × r kernel depends on n × n inputs, n = m + r - 1. Along one axis the m outputs are A · (G w ⊙ B x), with n
products instead of m · r: inputs and kernel are read as polynomials, whose product is known from its values at n - 1 points and infinity.
Along two axes each matrix is applied from both sides, and the n² products, summed over the input channels, are n² products of matrices:
outputs × inputs times inputs × tiles.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32
from shufflenet.compiler.graph.ir import Pair
from shufflenet.compiler.plan.alignment import OVERHANG_BYTES, odd_lines, whole_lines

Matrix = tuple[tuple[Fraction, ...], ...]

# Beside zero and infinity, by how many there are; each with its negative. Found by search: small errors, and matrices exact in float32.
_POINTS = {
    2: (Fraction(1),),
    4: (Fraction(5, 8), Fraction(3, 2)),
    6: (Fraction(1), Fraction(1, 2), Fraction(2)),
}

# Times in multiply-adds of a vector, measured on layers of 8 to 512 channels (AMD EPYC, Zen 4, AVX-512; with AVX2 much the same).
TRANSFORM = 16.0  # of each vector of tiles made of the input, or read for the output
WEIGHT = 0.1  # of each weight, which comes from far
LANES = 16

# Of transformed input that all blocks of weights meet before the next: part of a second-level cache.
TILE_BYTES = 512 << 10
FEWEST_TILES = 48  # of a chunk, all the same: with fewer, each weight that is read is used too seldom
LARGEST_WEIGHT = 2.0**64  # far from what could overflow once it is transformed


@dataclass(frozen=True)
class Transform:
    """F(output × output, kernel × kernel)."""

    output: int
    kernel: int

    @property
    def size(self) -> int:
        """Numbers along one side of a tile of the input, and of its products."""
        return self.output + self.kernel - 1

    @property
    def positions(self) -> int:
        return self.size**2

    @property
    def points(self) -> tuple[Fraction, ...]:
        """All but infinity, which is the last: zero, then pairs p, -p."""
        return (Fraction(0), *(sign * point for point in _POINTS[self.size - 2] for sign in (1, -1)))

    @property
    def input_matrix(self) -> Matrix:
        """B, size × size. Row i: the coefficients of the product of (x - q) over the points q but the i-th; of all of them for infinity."""
        rows = [_polynomial(self.points[:i] + self.points[i + 1 :]) for i in range(self.size - 1)]
        return (*((*row, Fraction(0)) for row in rows), _polynomial(self.points))

    @property
    def weight_matrix(self) -> Matrix:
        """G, size × kernel: the kernel's values at the points, over what `input_matrix` leaves to divide by."""
        rows = [
            tuple(point**power / prod(point - other for other in self.points if other != point) for power in range(self.kernel))
            for point in self.points
        ]  # fmt: skip
        return (*rows, tuple(Fraction(power == self.kernel - 1) for power in range(self.kernel)))

    @property
    def output_matrix(self) -> Matrix:
        """A, output × size: powers of the points."""
        return tuple(
            (*(point**power for point in self.points), Fraction(power == self.output - 1))
            for power in range(self.output)
        )

    @property
    def reach(self) -> int:
        """How many tiles of the output, side by side, the input of one lies on."""
        return -(-self.size // self.output)

    def tiles(self, size: Pair) -> Pair:
        """Rows and columns of tiles that cover an output plane of `size`."""
        height, width = size
        return -(-height // self.output), -(-width // self.output)

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """(out, in, kernel, kernel) → (positions, out, in), rounded to float32 once."""
        tile = np.moveaxis(weight.astype(np.float64), (2, 3), (0, 1))
        for axis in (0, 1):
            tile = np.stack([_combine(row, tile, axis) for row in self.weight_matrix], axis)
        return tile.reshape(self.positions, *weight.shape[:2]).astype(np.float32)


TRANSFORMS = (Transform(4, 3), Transform(2, 3), Transform(4, 5), Transform(2, 5))


def choose_transform(weight: np.ndarray, groups: int, size: Pair) -> Transform | None:
    """The fastest for (out, in, height, width) weights and output planes of `size`; none where direct products are faster."""
    rows, inner, *kernel = weight.shape
    rows //= groups

    def cost(transform: Transform) -> float:
        vectors = _vectors(prod(transform.tiles(size)))
        return transform.positions * (vectors * (inner * rows + TRANSFORM * (inner + rows)) + WEIGHT * inner * rows)

    direct = prod(kernel) * (_vectors(prod(size)) + WEIGHT) * inner * rows
    fitting = [transform for transform in TRANSFORMS if kernel == [transform.kernel, transform.kernel]]
    best = min(fitting, key=cost, default=None)
    ordinary = np.abs(weight).max() <= LARGEST_WEIGHT  # which no NaN is
    return best if best and ordinary and cost(best) < direct else None


def chunk_rows(transform: Transform, inner: int, size: Pair) -> int:
    """How many rows of tiles of so many input planes make a chunk."""
    rows, columns = transform.tiles(size)
    most = max(TILE_BYTES // (FLOAT32.bytes * transform.positions * inner * columns), -(-FEWEST_TILES // columns))
    return -(-rows // -(-rows // most))


@dataclass(frozen=True)
class WinogradLayout:
    """A chunk's scratch, in floats: padded rows, then lines of them, tiles of the input and tiles of a block of the output.

    kernels/winograd.c's `struct winograd` says what the strides are.
    """

    columns: int
    padded_stride: int
    line_stride: int
    tile_stride: int
    input_stride: int
    output_stride: int
    lines: int
    input_tiles: int
    output_tiles: int
    floats: int


def lay_out(transform: Transform, tiles: Pair, inner: int, block: int) -> WinogradLayout:
    """For rows × columns of `tiles`, `inner` input planes, and `block` output planes at a time."""
    rows, columns = tiles
    overhang = FLOAT32.count(OVERHANG_BYTES)
    tile_stride = whole_lines(rows * columns, FLOAT32)
    padded_stride = whole_lines(transform.output * columns, FLOAT32) + overhang
    line_stride = transform.output * tile_stride + overhang
    input_stride, output_stride = odd_lines(inner * tile_stride, FLOAT32), odd_lines(block * tile_stride, FLOAT32)
    lines = (rows * transform.output + transform.kernel - 1) * padded_stride
    input_tiles = lines + transform.reach * transform.size * line_stride
    output_tiles = input_tiles + transform.positions * input_stride
    return WinogradLayout(
        columns, padded_stride, line_stride, tile_stride, input_stride, output_stride,
        lines, input_tiles, output_tiles, floats=output_tiles + transform.positions * output_stride,
    )  # fmt: skip


def largest_input(transform: Transform, weights: np.ndarray) -> float:
    """With no input beyond it, no sum on the way to the output overflows; a power of two. `weights` are one group's, transformed."""
    grown = (_norm(transform.input_matrix) * _norm(transform.output_matrix)) ** 2
    sums = np.abs(weights).sum(axis=2, dtype=np.float64).max(initial=1.0)
    return 2.0 ** math.floor(math.log2(np.finfo(np.float32).max / (2 * grown * sums)))


def _polynomial(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The coefficients of the product of (x - root), lowest power first."""
    coefficients = (Fraction(1),)
    for root in roots:
        coefficients = tuple(
            above - root * here for above, here in zip((Fraction(0), *coefficients), (*coefficients, Fraction(0)), strict=True)
        )  # fmt: skip
    return coefficients


def _combine(row: tuple[Fraction, ...], array: np.ndarray, axis: int) -> np.ndarray:
    """The sum of an array's slices times the numbers of a row, in one order everywhere, as a BLAS would not have it."""
    return sum((float(value) * array.take(k, axis) for k, value in enumerate(row)), np.zeros(()))


def _norm(matrix: Matrix) -> float:
    """How many times the largest number that it is given can come out."""
    return float(max(sum(map(abs, row)) for row in matrix))


def _vectors(count: int) -> float:
    """How many so many numbers take; a tail takes its part of one, but where it is all there is."""
    return max(1.0, count / LANES)
