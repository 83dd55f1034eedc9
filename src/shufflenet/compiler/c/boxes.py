"""A detector's C source: its network's, and around it NAME_detect_rgb8, from 8-bit pixels to boxes. What all layouts have."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import NamedTuple

import numpy as np

from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES, aligned
from shufflenet.compiler.plan.arena import Lifetime, place
from shufflenet.compiler.plan.operands import Buffer

BOX_BYTES = 24
THREADS = "threads"
MOST_LEVELS = 8


class Section(NamedTuple):
    """A part of the arena: its bytes, and the first and the last phase of the function that need it."""

    size: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class BoxDecoder(ABC):
    """What a detector does before and behind its network: the parameters that travel beside its ONNX graph.

    The network takes a normalized picture [1, 3, padded height, padded width], in whose top left corner the resized picture lies; the
    rest is 0. Class 0 is the background; `class_names` are those from 1 up. `max_width` bounds the memory for a row of a picture.
    """

    padded_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    score_threshold: float
    nms_threshold: float
    detections_per_picture: int
    max_width: int = 8192

    @property
    def classes(self) -> int:
        """With the background."""
        return len(self.class_names) + 1

    @abstractmethod
    def sections(self, network_bytes: int) -> dict[str, Section]:
        """The parts of the arena. In phase 0 the picture is resized, in phase 1 the network has it."""

    def _picture_sections(self) -> dict[str, Section]:
        width = self.padded_size[1]
        return {
            "planes": Section(4 * 3 * math.prod(self.padded_size), 0, 1),
            "row": Section(4 * 3 * (self.max_width + 2), 0, 0),
            "columns": Section(4 * width, 0, 0),
            "shares": Section(4 * width, 0, 0),
        }


def _placed(decoder: BoxDecoder, network_bytes: int) -> tuple[dict[str, int], int]:
    """Where each section begins, and the bytes of all."""
    sections = decoder.sections(network_bytes)
    lifetimes = [Lifetime(Buffer(name), aligned(size), first, last) for name, (size, first, last) in sections.items()]
    offsets, size = place(lifetimes)
    return {buffer.name: offset for buffer, offset in offsets.items()}, size


def detect_arena_bytes(decoder: BoxDecoder, network_bytes: int) -> int:
    """Bytes of memory that NAME_detect_rgb8 needs, the network's own among them."""
    return CACHE_LINE_BYTES + _placed(decoder, network_bytes)[1]


# "section" or ("section", "C type") → a pointer to it.
SectionPointer = Callable[..., str]


class DetectionCode(NamedTuple):
    """What a layout puts into NAME_detect_rgb8, as C: tables before it, the size of the resized picture, and what then leads to boxes."""

    kernel: str
    tables: Sequence[str]
    resized: Sequence[str]  # assigns resized_height and resized_width
    behind: Sequence[str]


def with_detection(
    source: CSource, decoder: BoxDecoder, describe: Callable[[SectionPointer], DetectionCode]
) -> CSource:
    """`source` with NAME_detect_rgb8, as `describe` has it."""
    offsets, size = _placed(decoder, source.signature.arena_bytes)
    offsets |= {THREADS: size}  # the network's arena for several threads, behind all others

    def memory(name: str, kind: str = "float") -> str:
        return f"({kind} *)(base + {offsets[name]})"

    detection = describe(memory)
    c = "\n".join(
        (
            source.c,
            f"#define BOX {source.name}_box",
            _kernel("boxes"),
            _kernel(detection.kernel),
            *detection.tables,
            "",
            *_function(source, decoder, memory, detection),
        )
    )
    end = source.h.index("#ifdef __cplusplus\n}\n")
    return replace(source, c=c, h=source.h[:end] + _header(source, decoder) + source.h[end:])


def boxes_program(source: CSource) -> str:
    """A program that draws what a source with NAME_detect_rgb8 finds into a PPM picture."""
    text = re.sub(r"NAME_(?!detect|box)", f"{source.name.upper()}_", _kernel("main_boxes"))
    return text.replace("NAME", source.name)


def _kernel(name: str) -> str:
    return (resources.files("shufflenet.compiler.c.kernels") / f"{name}.c").read_text(encoding="utf-8")


def on_threads(source: CSource) -> bool:
    """Whether a source's network runs on the caller's threads, too."""
    return f"{source.name}_run_on(" in source.h


def _prototype(source: CSource, name: str, *, parallel: bool = False) -> str:
    weights = "" if source.signature.embedded else "const float *weights, "
    more = f", {source.name}_parallel_for *parallel_for, void *context" if parallel else ""
    return (
        f"int {source.name}_{name}({weights}const uint8_t *pixels, int height, int width, ptrdiff_t row_stride,\n"
        f"    {source.name}_box *boxes, int max_boxes, void *arena{more})"
    )


def _header(source: CSource, decoder: BoxDecoder) -> str:
    macro = source.name.upper()
    names = ", ".join(f"{i} {name}" for i, name in enumerate(decoder.class_names, 1))
    names = names.replace("*/", "* /").replace("\\", "/")
    return f"""
/* An object: its corners in pixels of the picture, how sure the detector is of it (0 to 1), and its class:
   {names}. */
typedef struct {source.name}_box {{
  float x1, y1, x2, y2, score;
  int32_t label;
}} {source.name}_box;
#define {macro}_MAX_WIDTH {decoder.max_width}
#define {macro}_DETECT_ARENA_BYTES {detect_arena_bytes(decoder, source.signature.arena_bytes)}
/* Objects in a picture of any height and of a width up to {macro}_MAX_WIDTH: 8-bit RGB, rows `row_stride` bytes apart. Writes at most
   `max_boxes` boxes, the surest first, and returns how many; 0 for a picture that is empty or too wide. `arena`:
   {macro}_DETECT_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
{_prototype(source, "detect_rgb8")};
{_header_of_threads(source) if on_threads(source) else ""}"""


def _header_of_threads(source: CSource) -> str:
    macro = source.name.upper()
    return f"""/* The same boxes, the network on threads of the caller's, as {source.name}_run_on has it.
   `arena`: {macro}_DETECT_ARENA_BYTES_FOR(n) bytes for n workers. */
#define {macro}_DETECT_ARENA_BYTES_FOR(workers) ({macro}_DETECT_ARENA_BYTES + {macro}_ARENA_BYTES_FOR(workers))
{_prototype(source, "detect_rgb8_on", parallel=True)};
"""


def _function(source: CSource, decoder: BoxDecoder, memory: SectionPointer, detection: DetectionCode) -> Sequence[str]:
    scale = ", ".join(number(1 / (255 * std)) for std in decoder.std)
    shift = ", ".join(number(-mean / std) for mean, std in zip(decoder.mean, decoder.std, strict=True))
    height, width = decoder.padded_size
    lines = (
        f"if (!pixels || height < 1 || width < 1 || width > {decoder.max_width} || max_boxes < 1) return 0;",
        f"char *const base = (char *)arena + (-(uintptr_t)arena & {CACHE_LINE_BYTES - 1});",
        f"float *const planes = {memory('planes')};",
        f"const struct canvas canvas = {{{height}, {width}, {{{scale}}}, {{{shift}}}}};",
        *detection.resized,
        "resize_into(&canvas, pixels, height, width, row_stride, resized_height, resized_width, planes,",
        f"            {memory('row')}, {memory('columns', 'int32_t')}, {memory('shares')});",
        *detection.behind,
    )
    body = (*(f"  {line}" for line in lines), "}\n")
    if not on_threads(source):
        return (f"{_prototype(source, 'detect_rgb8')} {{", *body)
    weights = "" if source.signature.embedded else "weights, "
    call = f"return {source.name}_objects({weights}pixels, height, width, row_stride, boxes, max_boxes, arena"
    return (
        "/* Without parallel_for, on this thread. */",
        f"ROUTINE {_prototype(source, 'objects', parallel=True)} {{",
        *body,
        f"{_prototype(source, 'detect_rgb8')} {{ {call}, NULL, NULL); }}\n",
        f"{_prototype(source, 'detect_rgb8_on', parallel=True)} {{ {call}, parallel_for, context); }}\n",
    )


def number(value: float) -> str:
    """A C constant; torchvision's thresholds may be infinite."""
    return "-__builtin_inff()" if value == -math.inf else "__builtin_inff()" if value == math.inf else f"{value!r}f"


def numbers(values: Sequence[float]) -> str:
    """C constants, for an initializer."""
    return ", ".join(map(number, values))


def at_most(threshold: float) -> float:
    """The largest float32 up to `threshold`: torchvision compares float32 overlaps with a threshold in double precision."""
    nearest = np.float32(threshold)
    return float(nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-1)))
