"""The plan of a network: its steps, each a function of the C source with every number decided, and where all data lies."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.graph.ir import Activation, Batch
from shufflenet.compiler.plan.alignment import VECTOR_BYTES
from shufflenet.compiler.plan.operands import Block, Buffer, Chunks, Planes, Window
from shufflenet.compiler.plan.stems import StemLayout
from shufflenet.compiler.plan.tasks import Tasks
from shufflenet.compiler.plan.winograd import Transform, WinogradLayout


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

    `compress_less`: without the last `left_out` rows, where the strip below is another thread's, who overwrites the first row of it.
    """

    first: int
    end: int
    rows: int
    compress: tuple[Chunks, ...]
    expand: tuple[Chunks, ...]
    compress_less: tuple[Chunks, ...] = ()
    left_out: int = 0


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
    number: Element = FLOAT32  # what planes hold, but those of codes
    weight: Element = FLOAT32  # what weights are stored as, but those of steps on codes

    @property
    def multiply_adds(self) -> int:
        return sum(step.work for step in self.steps)

    def __str__(self) -> str:
        lines = [f"arena {self.arena_bytes} bytes, at least {self.bound_bytes}; weights {self.weights.nbytes} bytes"]
        lines += [f"{step.name}: {type(step).__name__} at {step.output.offset}: {step.comment}" for step in self.steps]
        return "\n".join(lines) + "\n"
