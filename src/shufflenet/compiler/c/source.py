"""What the compiler gives: a C source, and what one must know to call it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from shufflenet.compiler.graph.ir import Batch, Shape


@dataclass(frozen=True)
class Pixels:
    """How 8-bit RGB or grey becomes a network's input: channel c is byte order[c] of a pixel · scale[c] + shift[c]."""

    order: tuple[int, ...]
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @property
    def bytes(self) -> int:
        """Of a pixel."""
        return len(self.order)


@dataclass(frozen=True)
class Output:
    """An output as NAME_run writes it for one picture, `floats` numbers, and how several are put together (graph/ir.py's Port)."""

    shape: Shape
    batch: Batch
    floats: int


@dataclass(frozen=True)
class Signature:
    """How NAME_run is called, and what it costs. Inputs' shapes leave the batch of one out, outputs' are the graph's.

    `embedded`: the weights are in the source; else they are NAME.bin, and NAME_run's first argument. `takes_pixels`: there is
    NAME_run_rgb8, or NAME_run_gray8. `arena_bytes`: on one thread; each other one takes `worker_bytes` more. `timed_steps`: how
    many times NAME_run_timed writes; 0 where there is no such function.
    """

    name: str
    input_shapes: tuple[Shape, ...]
    outputs: tuple[Output, ...]
    arena_bytes: int
    worker_bytes: int
    weights_bytes: int
    multiply_adds: int
    embedded: bool
    takes_pixels: bool
    timed_steps: int

    @property
    def run_pixels(self) -> str:
        """What the function that takes 8-bit pixels is called behind NAME_: one byte a pixel is grey."""
        return "run_gray8" if self.input_shapes[0][0] == 1 else "run_rgb8"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's types: `Signature.from_json` gives back an equal Signature."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Signature":
        """The reverse of `to_json`."""
        inputs = tuple(map(tuple, record["input_shapes"]))
        outputs = tuple(Output(**{**output, "shape": tuple(output["shape"])}) for output in record["outputs"])
        return Signature(**{**record, "input_shapes": inputs, "outputs": outputs})


@dataclass(frozen=True)
class CSource:
    """The text of NAME.c and NAME.h, and the bytes of NAME.bin where the weights are not in the source.

    `numbers` is a sentence on what it computes with, where that is not float32 alone.
    """

    signature: Signature
    c: str
    h: str
    weights: bytes | None
    numbers: str = ""

    @property
    def name(self) -> str:
        return self.signature.name


@dataclass(frozen=True)
class Preparation:
    """How a picture of any size becomes a network's input, as checkpoints say it: resized, its centre cropped, normalised.

    `pixels` is how bytes become numbers; one channel is grey. The picture's short side becomes `short_side`; with None it is scaled
    straight to the input's size. `antialias` lets the filter grow with what a pixel covers, as Pillow's does.
    """

    pixels: Pixels
    short_side: int | None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
