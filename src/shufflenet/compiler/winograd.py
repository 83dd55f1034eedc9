"""Winograd's convolution: fewer multiplications, by way of polynomials at a few points (Lavin & Gray 2015, arXiv 1509.09308).

A tile of m × m outputs of an r × r kernel depends on n × n inputs, n = m + r - 1. Along one axis the m outputs are A · (G w ⊙ B x), with n
products instead of m · r: inputs and kernel are read as polynomials, whose product is known from its values at n - 1 points and infinity.
Along two axes each matrix is applied from both sides, and the n² products, summed over the input channels, are n² products of matrices:
outputs × inputs times inputs × tiles.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from shufflenet.compiler.ir import Pair

Matrix = tuple[tuple[Fraction, ...], ...]

# Beside zero and infinity, by how many there are; each with its negative. Found by search: small errors, and matrices exact in float32.
_POINTS = {
    2: (Fraction(1),),
    4: (Fraction(5, 8), Fraction(3, 2)),
    6: (Fraction(1), Fraction(1, 2), Fraction(2)),
}

# Times of one vector, in multiply-adds of one: measured, all layers of AlexNet and VGG among them.
TRANSFORM = 12.0  # of each number made of the input or read for the output
WEIGHT = 0.25  # of each weight, which comes from far
LANES = 16

TILE_FLOATS = 131_072  # of transformed input that all blocks of weights meet before the next: 512 KiB
FEWEST_TILES = 48  # of a chunk: fewer use a weight too seldom


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
        rows = [_product(self.points[:i] + self.points[i + 1 :]) for i in range(self.size - 1)]
        return (*((*row, Fraction(0)) for row in rows), _product(self.points))

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

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """(out, in, kernel, kernel) → (positions, out, in), in float64."""
        g = numbers(self.weight_matrix)
        moved = np.einsum("ia,ocab,jb->ijoc", g, weight.astype(np.float64), g, optimize=True)
        return moved.reshape(self.positions, *weight.shape[:2])


TRANSFORMS = (Transform(4, 3), Transform(2, 3), Transform(4, 5), Transform(2, 5))


def numbers(matrix: Matrix) -> np.ndarray:
    """In float64."""
    return np.array([[float(value) for value in row] for row in matrix])


def choose_transform(kernel: Pair, inner: int, rows: int, size: Pair) -> Transform | None:
    """The fastest for `rows` × `inner` channels of a group and output planes of `size`; none where direct products are faster."""
    direct = prod(kernel) * (_lanes(prod(size)) + WEIGHT) * inner * rows

    def cost(transform: Transform) -> float:
        tiles = _lanes(prod(-(-side // transform.output) for side in size))
        return transform.positions * (tiles * (inner * rows + TRANSFORM * (inner + rows)) + WEIGHT * inner * rows)

    fitting = [transform for transform in TRANSFORMS if kernel == (transform.kernel, transform.kernel)]
    best = min(fitting, key=cost, default=None)
    return best if best and cost(best) < direct else None


def chunk_rows(transform: Transform, inner: int, size: Pair) -> int:
    """How many rows of tiles of so many input planes make a chunk; the last chunk may be smaller."""
    rows, columns = (-(-side // transform.output) for side in size)
    most = max(TILE_FLOATS // (transform.positions * inner * columns), -(-FEWEST_TILES // columns))
    return -(-rows // -(-rows // most))


def largest_input(transform: Transform, moved: np.ndarray) -> float:
    """With no input beyond it, no sum on the way to the output overflows; `moved` are the transformed weights of one group."""
    grown = (_norm(transform.input_matrix) * _norm(transform.output_matrix)) ** 2
    sums = np.abs(moved).sum(axis=2, dtype=np.float64).max(initial=1.0)
    return float(np.finfo(np.float32).max / (2 * grown * sums))


def _product(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The coefficients of the product of (x - root), lowest power first."""
    coefficients = (Fraction(1),)
    for root in roots:
        coefficients = tuple(
            above - root * here for above, here in zip((Fraction(0), *coefficients), (*coefficients, Fraction(0)), strict=True)
        )  # fmt: skip
    return coefficients


def _norm(matrix: Matrix) -> float:
    """How many times the largest number that it is given can come out."""
    return float(max(sum(map(abs, row)) for row in matrix))


def _lanes(count: int) -> float:
    return -(-count // LANES)
