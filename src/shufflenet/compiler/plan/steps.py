"""The plan of a network: its steps, each a function of the C source with every number decided, and where all data lies."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.graph.ir import Activation, Batch
from shufflenet.compiler.plan.alignment import VECTOR_BYTES
from shufflenet.compiler.plan.stems import StemLayout
from shufflenet.compiler.plan.tasks import Tasks
from shufflenet.compiler.plan.tiles import Tiling
from shufflenet.compiler.plan.winograd import Transform, WinogradLayout


class Buffer(NamedTuple):
    """Memory that lives as one: a tensor in the arena, the scratch of a step, or a network input, which is the caller's."""

    name: str  # of the tensor, or of the step
    place: Literal["arena", "scratch", "port"] = "arena"


@dataclass(frozen=True)
class Planes:
    """An operand in memory: planes of a buffer by number, `stride` numbers from one to the next, from the number `first` on."""

    buffer: Buffer
    planes: tuple[int, ...]
    stride: int
    element: Element = FLOAT32
    first: int = 0
    offset: int = 0  # of the buffer in the arena, in bytes; known once all lifetimes are

    @property
    def starts(self) -> tuple[int, ...]:
        """Where in the buffer each plane starts."""
        return tuple(self.first + plane * self.stride for plane in self.planes)

    @property
    def spacing(self) -> int | None:
        """Numbers from each of these planes to the next; 0 for a single one, None where it is not always the same."""
        spacings = {self.stride * (b - a) for a, b in pairwise(self.planes)} or {0}
        return spacings.pop() if len(spacings) == 1 else None

    @property
    def bytes(self) -> int:
        """All that these planes take."""
        return len(self.planes) * self.stride * self.element.bytes


@dataclass(frozen=True)
class Window:
    """How a convolution or pool moves over a plane; kernels/panels.c's `struct window`."""

    height: int
    width: int
    output_height: int
    output_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]  # top, left
    dilation: tuple[int, int]

    @property
    def shared_rows(self) -> int:
        """Rows of the input that a row of output has in common with the one above."""
        return self.kernel[0] - self.stride[0]

    @property
    def is_direct(self) -> bool:
        """Whether kernels/depthwise.c serves: 3×3 with padding 1 on all sides, at stride 1 or 2."""
        stride = self.stride[0]
        return (
            (self.kernel, self.dilation, self.padding) == ((3, 3), (1, 1), (1, 1))
            and self.stride in ((1, 1), (2, 2))
            and self.output_height == (self.height - 1) // stride + 1
            and self.output_width == (self.width - 1) // stride + 1
        )


@dataclass(frozen=True)
class Block:
    """`count` blocks of `rows` rows, one after the other, and how they are tiled on each of the element's vector units."""

    count: int
    rows: int
    tilings: tuple[Tiling, ...]


@dataclass(frozen=True)
class Chunks:
    """Output pixels, or rows of Winograd's tiles, [first, end), `count` of them at a time, and how the product of so many is tiled."""

    first: int
    end: int
    count: int
    blocks: tuple[Block, ...]

    @property
    def pieces(self) -> int:
        """How many chunks these are."""
        return (self.end - self.first) // self.count


@dataclass(frozen=True, kw_only=True)
class Step:
    """One function of the C source. `work` is in multiply-adds. `tasks`: how it is dealt to threads; None for what stays on one."""

    name: str
    comment: str
    output: Planes
    activation: Activation | None = None
    work: int = 0
    scratch_bytes: int = 0
    scratch: int = 0  # offset in the arena of that many bytes, for this step alone
    tasks: Tasks | None = None

    by_planes: ClassVar[bool] = False  # whether its units are the planes of its output

    @property
    def units(self) -> int:
        """Parts that threads may do in any order and at the same time, each of which comes out the same whoever does it.

        They are numbered by place in the picture first, so that a thread finds in its cache what it made itself in the step before.
        """
        return len(self.output.planes) if self.by_planes else 1

    @property
    def least_units(self) -> int:
        """So many of them, one after the other, are the least that a thread should take: it has to begin with others' work."""
        return 1

    @property
    def worker_bytes(self) -> int:
        """Scratch that each thread needs."""
        return self.scratch_bytes

    @property
    def moved_bytes(self) -> int:
        """What it reads and writes of planes."""
        return sum(planes.bytes for planes in (*self.reads, *self.writes))

    @property
    def members(self) -> tuple["Step", ...]:
        """The steps that it is made of: itself alone, but for Strips."""
        return (self,)

    @property
    def reads(self) -> tuple[Planes, ...]:
        """What it reads, but for its own scratch."""
        raise NotImplementedError

    @property
    def writes(self) -> tuple[Planes, ...]:
        """What it writes, but for its own scratch."""
        return (self.output,)

    @property
    def overwrites(self) -> Planes | None:
        """An operand that the output may lie over: each number is read before the one in its place is written."""
        return None

    @property
    def takes_weights(self) -> bool:
        """Whether it reads the plan's weights."""
        return False

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Whose memory in the arena it touches."""
        found = [planes.buffer for planes in (*self.reads, *self.writes) if planes.buffer.place == "arena"]
        return (*found, Buffer(self.name, "scratch")) if self.scratch_bytes else tuple(found)

    def moved(self, move: Callable[[Planes], Planes]) -> "Step":
        """The same step with every operand moved."""
        changes: dict[str, Any] = {}
        for field in fields(self):
            match getattr(self, field.name):
                case Planes() as planes:
                    changes[field.name] = move(planes)
                case Step() as step:
                    changes[field.name] = step.moved(move)
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class OneInput(Step):
    """A step that reads one operand."""

    input: Planes

    @property
    def reads(self) -> tuple[Planes, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class Weighted(OneInput):
    """A convolution, in whatever way; `weights` and `bias` are offsets in the plan's weights, in bytes."""

    weights: int
    bias: int
    addend: Planes | None = None

    @property
    def reads(self) -> tuple[Planes, ...]:
        return (self.input, self.addend) if self.addend else (self.input,)

    @property
    def takes_weights(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Product(Weighted):
    """A 1×1 convolution: in each group and chunk of pixels, weights × the input's planes, read where they are, `part` of them at a time.

    Weights are packed [group][piece of rows][part of inner][block][inner][row]. `far`: its planes are more than a cache holds, so they
    are fetched ahead. Each of `row_pieces` makes as many rows of a group, in all chunks.
    """

    groups: int
    inner: int
    part: int
    chunks: tuple[Chunks, ...]
    far: bool
    row_pieces: int = 1

    @property
    def units(self) -> int:
        return self.groups * self.row_pieces * sum(chunk.pieces for chunk in self.chunks)

    @property
    def overwrites(self) -> Planes | None:
        return self.addend


@dataclass(frozen=True, kw_only=True)
class PanelProduct(Weighted):
    """Any convolution: panels of at most `panel_inner` rows are packed into scratch, a chunk of pixels at a time, and multiplied.

    Weights are packed [group][part of inner][block][inner][row].
    """

    window: Window
    groups: int
    inner: int
    panel_inner: int
    panel_stride: int
    chunks: tuple[Chunks, ...]

    @property
    def units(self) -> int:
        return self.groups * sum(chunk.pieces for chunk in self.chunks)

    @property
    def overwrites(self) -> Planes | None:
        return self.addend


@dataclass(frozen=True, kw_only=True)
class WinogradProduct(PanelProduct):
    """A dense convolution by way of transformed tiles; a PanelProduct after all where an input is beyond ±`largest_input`, or NaN.

    The weights of tiles are packed [group][block][position][part of channels][channel][row].
    """

    transform: Transform
    largest_input: float
    layout: WinogradLayout
    tile_chunks: tuple[Chunks, ...]
    part: int
    tile_weights: int

    @property
    def units(self) -> int:
        return self.groups * sum(chunk.pieces for chunk in self.tile_chunks)


@dataclass(frozen=True, kw_only=True)
class VectorProduct(Weighted):
    """A convolution whose output planes are one number: a matrix times a vector. `gather`: the vector is packed into scratch first.

    Weights are packed [group][block of `block` rows][inner][row].
    """

    window: Window
    groups: int
    inner: int
    rows: int
    block: int
    gather: bool

    @property
    def units(self) -> int:
        return -(-self.rows // self.block) if self.groups == 1 else 1


DEALT_ROWS = 14  # of a map: where there are fewer, they do not come out evenly


@dataclass(frozen=True, kw_only=True)
class Depthwise(Weighted):
    """A convolution of each plane by itself; `direct` is the vectorised 3×3 with padding 1."""

    window: Window
    direct: bool

    @property
    def by_rows(self) -> bool:
        """Whether its units are rows of the output, in all planes."""
        return self.direct and self.window.output_height >= DEALT_ROWS

    @property
    def by_planes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.by_rows

    @property
    def units(self) -> int:
        return self.window.output_height if self.by_rows else len(self.output.planes)


@dataclass(frozen=True)
class Run:
    """Strips of `rows` output rows, from row `first` to `end`, and how each one's products are cut.

    `compress_less`: without the row that is the first of the strip below, where another thread overwrites that row.
    """

    first: int
    end: int
    rows: int
    compress: tuple[Chunks, ...]
    expand: tuple[Chunks, ...]
    compress_less: tuple[Chunks, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Strips(Step):
    """A unit's steps, one strip of rows after the other, so that each finds in a cache what the one before it made.

    What lies between them is in scratch. `compress` adds the rows that a strip needs below those that it shares with the strip above;
    `depthwise.input` begins with the second row there, which the first row of output has in its middle. `edge` makes, of the rows that
    two threads' strips share, what both need: before either begins, since each overwrites its own. In scratch they are at `edges`, in
    bytes, `edge_bytes` each.
    """

    compress: Product
    depthwise: Depthwise
    expand: Product
    shortcut: Depthwise | None
    runs: tuple[Run, ...]
    edge: Product
    edges: int
    edge_bytes: int

    @property
    def worker_bytes(self) -> int:
        return self.edges

    @property
    def members(self) -> tuple[Step, ...]:
        steps = self.compress, self.depthwise, self.expand, self.shortcut
        return tuple(step for step in steps if step)

    @property
    def reads(self) -> tuple[Planes, ...]:
        return tuple(planes for m in self.members for planes in m.reads if planes.buffer.place != "scratch")

    @property
    def writes(self) -> tuple[Planes, ...]:
        return tuple(planes for m in self.members for planes in m.writes if planes.buffer.place != "scratch")

    @property
    def takes_weights(self) -> bool:
        return True


STEM_ROWS = 4  # of a stem's output that a task makes at least: it begins with one row of the convolution more


@dataclass(frozen=True, kw_only=True)
class Stem(Weighted):
    """Convolution 3×3/2, and max-pool 3×3/2 if `pooled_size` is not None, in one pass over a network input.

    Scratch holds what `layout` says.
    """

    channels: int
    filters: int
    size: tuple[int, int]
    convolution_size: tuple[int, int]
    pooled_size: tuple[int, int] | None
    layout: StemLayout
    blocks: tuple[Block, ...]  # of one convolution row

    @property
    def units(self) -> int:
        """Rows of output."""
        return self.pooled_size[0] if self.pooled_size else self.convolution_size[0]

    @property
    def least_units(self) -> int:
        return STEM_ROWS if self.pooled_size else 1

    @property
    def in_place(self) -> bool:
        """Whether convolution rows are made where they are to be: whole vectors, of any machine, do not overhang the last one."""
        return self.pooled_size is None and self.convolution_size[1] % self.output.element.count(VECTOR_BYTES) == 0


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


@dataclass(frozen=True)
class PlannedPort:
    """A network's input or output: its ONNX name and shape, and its planes in the arena, `size` numbers each."""

    name: str
    shape: tuple[int, ...]
    planes: Planes
    size: int
    batch: Batch = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """All that emit.py needs."""

    steps: tuple[Step, ...]
    inputs: tuple[PlannedPort, ...]
    outputs: tuple[PlannedPort, ...]
    weights: np.ndarray  # bytes
    arena_bytes: int
    bound_bytes: int  # the largest sum of tensors that are alive at once
    worker_bytes: int = 0  # of arena that each thread beside the first needs

    @property
    def multiply_adds(self) -> int:
        return sum(step.work for step in self.steps)

    def __str__(self) -> str:
        lines = [f"arena {self.arena_bytes} bytes, at least {self.bound_bytes}; weights {self.weights.nbytes} bytes"]
        lines += [f"{step.name}: {type(step).__name__} at {step.output.offset}: {step.comment}" for step in self.steps]
        return "\n".join(lines) + "\n"
