"""What a step works on: buffers, planes in them, windows that move over planes, and how a product is cut into blocks and chunks."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.graph.ir import Convolution, Graph, Pool
from shufflenet.compiler.plan.tiles import Tiling


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


def window_of(graph: Graph, operation: Convolution | Pool) -> Window:
    """How a convolution or pool moves over the planes of its input."""
    if isinstance(operation, Pool):
        kernel = operation.kernel
    else:
        _, _, *sides = graph.constants[operation.weight].shape
        kernel = sides[0], sides[1]
    _, height, width = graph.shape(operation.input)
    _, output_height, output_width = graph.shape(operation.output)
    return Window(
        height, width, output_height, output_width, kernel, operation.stride, operation.padding[:2], operation.dilation
    )
