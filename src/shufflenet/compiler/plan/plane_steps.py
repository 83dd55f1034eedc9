"""Steps that work on planes without a product: pools, sums, activations, and what only moves numbers. kernels/planes.c and others."""

from dataclasses import dataclass

from shufflenet.compiler.plan.operands import Planes, Window
from shufflenet.compiler.plan.steps import OneInput, Step


@dataclass(frozen=True, kw_only=True)
class PoolPlanes(OneInput):
    """A pool; a mean is the sum times row_scale[y] times column_scale[x]."""

    by_planes = True
    largest: bool
    window: Window
    row_scale: tuple[float, ...]
    column_scale: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Reduce(OneInput):
    """The largest or mean number of every plane of `size` numbers."""

    by_planes = True
    largest: bool
    size: int


@dataclass(frozen=True, kw_only=True)
class ResamplePlanes(OneInput):
    """Every plane as a product of matrices: weights × plane (`from_left`) or plane × weights; (rows, inner) × (inner, columns).

    `bands`: first and end of what is not 0 in each row of the weights.
    """

    by_planes = True
    bands: tuple[int, ...]
    from_left: bool
    rows: int
    inner: int
    columns: int
    weights: int

    @property
    def takes_weights(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class RepeatPlanes(OneInput):
    """Every row of every plane `down` times, and every number of it `across` times: nearest neighbours by whole factors."""

    rows: int
    columns: int
    down: int
    across: int


@dataclass(frozen=True, kw_only=True)
class Combine(Step):
    """left + right or left × right, plus addend."""

    by_planes = True
    multiply: bool
    left: Planes
    right: Planes
    right_is_number: bool
    addend: Planes | None
    size: int

    @property
    def reads(self) -> tuple[Planes, ...]:
        return (self.left, self.right, self.addend) if self.addend else (self.left, self.right)

    @property
    def overwrites(self) -> Planes | None:
        return self.addend


@dataclass(frozen=True, kw_only=True)
class ActivatePlanes(OneInput):
    """An activation alone."""

    by_planes = True
    size: int


@dataclass(frozen=True, kw_only=True)
class LocalResponse(OneInput):
    """input / (bias + scale · Σ input²) ** beta, over `before` channels before and `after` after."""

    size: int
    before: int
    after: int
    scale: float
    beta: float
    bias: float


@dataclass(frozen=True, kw_only=True)
class SoftmaxPlanes(OneInput):
    """Softmax over the channels."""

    size: int


@dataclass(frozen=True, kw_only=True)
class PadPlanes(OneInput):
    """A border (top, left, bottom, right) of `value`."""

    by_planes = True
    size: tuple[int, int]
    padding: tuple[int, int, int, int]
    value: float


@dataclass(frozen=True, kw_only=True)
class CopyPlanes(OneInput):
    """Planes of `size` numbers, from the arena or a network input."""

    by_planes = True
    size: int
