"""Steps on codes of one byte: what graph/integers.py says of each operation, with every number decided."""

from dataclasses import dataclass

from shufflenet.compiler.plan.operands import Block, Planes, Window
from shufflenet.compiler.plan.stems import IntegerStemLayout
from shufflenet.compiler.plan.steps import OneInput, Step


@dataclass(frozen=True, kw_only=True)
class IntegerStep(Step):
    """Sums of codes become codes: byte = round(sum · scale) + `zero_point`, within [low, high]."""

    zero_point: int = 0
    low: int = 0
    high: int = 255


@dataclass(frozen=True, kw_only=True)
class IntegerConvolution(IntegerStep, OneInput):
    """A convolution on codes; the output is codes, or float32 numbers.

    Offsets in the plan's weights, in bytes: `bias` (int32) has the zero points in it, `scale` (float32) is of each output channel,
    `addend_factors` (int32) are what an addend's codes count in the sum; where it is shifted first, `shifts` (int32) says how far, and
    `addend_bias` (int32) has the addend's zero point, if that is not 0; else `bias` has it.
    """

    groups: int
    weights: int
    bias: int
    scale: int
    addend: Planes | None = None
    addend_factors: int = 0
    shifts: int | None = None
    addend_bias: int | None = None

    @property
    def reads(self) -> tuple[Planes, ...]:
        return (self.input, self.addend) if self.addend else (self.input,)

    @property
    def takes_weights(self) -> bool:
        return True


UNIT_PIXELS = 64  # the most pixels of a kernel's block


@dataclass(frozen=True, kw_only=True)
class IntegerProduct(IntegerConvolution):
    """kernels/integer_product.c: as many pixels as a panel in scratch has room for, at most `most_pixels`, are packed; all rows read them.

    Without a window the pixels are read where they are; with one, bytes of its panel are gathered first, at `gathered` in scratch,
    planes `gathered_stride` bytes apart. Weights are packed [group][block of rows][inner / 4][row][4]. `wide` is where
    in scratch a tile's weights find room. `large`: sums times scale may be beyond 32 bits.
    """

    inner: int
    pixels: int
    most_pixels: int
    panel_bytes: int
    window: Window | None
    gathered: int
    gathered_stride: int
    wide: int
    weight_sums: int
    input_zero: int
    large: bool
    blocks: tuple[Block, ...]  # of one group's rows

    @property
    def by_pixels(self) -> bool:
        """Whether its units are pixels, `UNIT_PIXELS` each, in all groups; else they are groups. Sums are whole: any cut gives the same."""
        return self.pixels > UNIT_PIXELS

    @property
    def units(self) -> int:
        return -(-self.pixels // UNIT_PIXELS) if self.by_pixels else self.groups

    @property
    def overwrites(self) -> Planes | None:
        """Pixel by pixel, and each row's sum in its own place."""
        return self.addend if self.addend and self.window is None else None


@dataclass(frozen=True, kw_only=True)
class IntegerStem(IntegerConvolution):
    """kernels/integer_stem.c: a network input's numbers, or 8-bit pixels, to the codes of its first layer, and of the max-pool after it.

    Weights are packed [channel][row of the kernel][filter][4]. `large` is as an IntegerProduct's. `input_scale` and `input_zero` are those
    of the codes that the picture becomes.
    """

    size: tuple[int, int]
    convolution_size: tuple[int, int]
    pooled: bool
    input_scale: float
    input_zero: int
    weight_sums: int
    large: bool
    layout: IntegerStemLayout
    rows: Block


@dataclass(frozen=True)
class IntegerDepthwiseLayout:
    """Rows of output at a time, and the scratch, in bytes: two places for padded rows, one after the other, then one for the output's."""

    rows: int
    second: int
    made: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class IntegerDepthwise(IntegerConvolution):
    """kernels/integer_depthwise.c: 3×3 with padding 1; weights are three rows of four for each plane."""

    by_planes = True
    window: Window
    input_zero: int
    layout: IntegerDepthwiseLayout


@dataclass(frozen=True, kw_only=True)
class IntegerPatches(IntegerConvolution):
    """Any convolution: the pixels that an output's sum takes are gathered into scratch, one output pixel at a time.

    Weights are packed [output channel][inner]. Padding is the input's zero point.
    """

    window: Window
    inner: int
    input_zero: int


@dataclass(frozen=True, kw_only=True)
class IntegerPool(IntegerStep, OneInput):
    """Largest codes, or means: the sum of a window's codes, less `input_zero` each, times `scales` (of each pixel of a plane)."""

    by_planes = True
    largest: bool
    window: Window
    input_zero: int
    scales: int

    @property
    def takes_weights(self) -> bool:
        return not self.largest


@dataclass(frozen=True, kw_only=True)
class IntegerReduce(IntegerStep, OneInput):
    """The largest code, or the mean, of every plane of `size` codes."""

    by_planes = True
    largest: bool
    size: int
    input_zero: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class IntegerAdd(IntegerStep):
    """(left · left_factor + right · right_factor + offset) >> shift."""

    by_planes = True
    left: Planes
    right: Planes
    right_is_number: bool
    size: int
    left_factor: int
    right_factor: int
    offset: int
    shift: int

    @property
    def reads(self) -> tuple[Planes, ...]:
        return self.left, self.right


@dataclass(frozen=True, kw_only=True)
class IntegerMultiply(IntegerStep):
    """The product of two codes, each less its zero point."""

    by_planes = True
    left: Planes
    right: Planes
    right_is_number: bool
    size: int
    left_zero: int
    right_zero: int
    scale: float

    @property
    def reads(self) -> tuple[Planes, ...]:
        return self.left, self.right


@dataclass(frozen=True, kw_only=True)
class LookupPlanes(OneInput):
    """Each code's entry in a table of 256 bytes, at `table` in the plan's weights."""

    by_planes = True
    size: int
    table: int

    @property
    def takes_weights(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class QuantizePlanes(OneInput):
    """Numbers, the caller's or in the arena, become codes."""

    size: int
    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class DequantizePlanes(OneInput):
    """Codes become numbers."""

    by_planes = True
    size: int
    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class PadBytes(OneInput):
    """A border (top, left, bottom, right) of a code."""

    by_planes = True
    size: tuple[int, int]
    padding: tuple[int, int, int, int]
    value: int


@dataclass(frozen=True, kw_only=True)
class RepeatBytes(OneInput):
    """Every row of every plane of codes `down` times, and every code of it `across` times."""

    rows: int
    columns: int
    down: int
    across: int


@dataclass(frozen=True, kw_only=True)
class CopyBytes(OneInput):
    """Planes of `size` codes."""

    by_planes = True
    size: int
