"""A one-stage detector's C source: the network's, and around it NAME_detect_rgb8, from 8-bit pixels to boxes."""

import math
import re
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np

from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.errors import CompileError

ALIGNMENT = 64
BOX_BYTES = 24
MOST_LEVELS = 8


@dataclass(frozen=True)
class BoxLevel:
    """A map that predicts: `anchors` has the (width, height) of each anchor, centred on every `stride`-th pixel."""

    stride: int
    rows: int
    columns: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class BoxDecoder:
    """What is done before and behind the network of an SSD: the parameters that travel beside its ONNX graph.

    The graph takes one normalized picture [1, 3, padded height, padded width] and gives for each level, finest first, logits
    [1, anchors · classes, rows, columns] and offsets [1, anchors · 4, rows, columns]. Class 0 is the background; `class_names` are
    those from 1 up. Pictures are resized to `size` (height, width), or with `letterbox` into it, and padded with zeros at the right
    and below. `max_width` bounds the memory for a row of a picture.
    """

    size: tuple[int, int]
    padded_size: tuple[int, int]
    letterbox: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    levels: tuple[BoxLevel, ...]
    score_threshold: float
    nms_threshold: float
    candidates_per_class: int
    detections_per_picture: int
    max_width: int = 8192

    @property
    def classes(self) -> int:
        """With the background."""
        return len(self.class_names) + 1

    @property
    def anchor_count(self) -> int:
        return sum(level.rows * level.columns * len(level.anchors) for level in self.levels)


def _sections(decoder: BoxDecoder, network_bytes: int) -> dict[str, int]:
    """The parts of the arena in their order, and their bytes."""
    candidates = len(decoder.class_names) * decoder.candidates_per_class
    return {
        "network": network_bytes,
        "planes": 4 * 3 * math.prod(decoder.padded_size),
        "outputs": 4 * decoder.anchor_count * (decoder.classes + 4),
        "row": 4 * 3 * decoder.max_width,
        "columns": 4 * decoder.size[1],
        "shares": 4 * decoder.size[1],
        "keys": 8 * max(decoder.anchor_count, candidates),
        "kept": BOX_BYTES * candidates,
    }


def _rounded(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


def detect_arena_bytes(decoder: BoxDecoder, network_bytes: int) -> int:
    """Bytes of memory that NAME_detect_rgb8 needs, the network's own among them."""
    return ALIGNMENT + sum(map(_rounded, _sections(decoder, network_bytes).values()))


def with_boxes(source: CSource, decoder: BoxDecoder) -> CSource:
    """`source`, of the graph that `decoder` describes, with NAME_detect_rgb8. Raises CompileError if the two do not fit."""
    _check(source, decoder)
    c = "\n".join(
        (
            source.c,
            f"#define BOX {source.name}_box",
            _kernel("boxes"),
            _kernel("one_stage"),
            _detect(source, decoder),
        )
    )
    lines = _header(source, decoder)
    end = source.h.index("#ifdef __cplusplus\n}\n")
    return replace(source, c=c, h=source.h[:end] + lines + source.h[end:])


def boxes_program(source: CSource) -> str:
    """A program that draws what a source with NAME_detect_rgb8 finds into a PPM picture."""
    text = re.sub(r"NAME_(?!detect|box)", f"{source.name.upper()}_", _kernel("main_boxes"))
    return text.replace("NAME", source.name)


def _kernel(name: str) -> str:
    return (resources.files("shufflenet.compiler.c.kernels") / f"{name}.c").read_text(encoding="utf-8")


def _check(source: CSource, decoder: BoxDecoder) -> None:
    if not 1 <= len(decoder.levels) <= MOST_LEVELS:
        raise CompileError(f"a detector of {len(decoder.levels)} levels cannot be compiled; it has 1 to {MOST_LEVELS}.")
    wanted = [
        count * level.rows * level.columns
        for level in decoder.levels
        for count in (len(level.anchors) * decoder.classes, len(level.anchors) * 4)
    ]
    given = [output.floats for output in source.signature.outputs]
    if given != wanted or source.signature.input_shapes != ((3, *decoder.padded_size),):
        raise CompileError(
            f"the graph takes {source.signature.input_shapes} and gives {given} numbers, the detector's parameters call for "
            f"{(3, *decoder.padded_size)} and {wanted}; export both from one detector."
        )


def _prototype(source: CSource) -> str:
    weights = "" if source.signature.embedded else "const float *weights, "
    return (
        f"int {source.name}_detect_rgb8({weights}const uint8_t *pixels, int height, int width, ptrdiff_t row_stride,\n"
        f"    {source.name}_box *boxes, int max_boxes, void *arena)"
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
{_prototype(source)};
"""


def _number(value: float) -> str:
    return "-__builtin_inff()" if value == -math.inf else "__builtin_inff()" if value == math.inf else f"{value!r}f"


def at_most(threshold: float) -> float:
    """The largest float32 up to `threshold`: torchvision compares float32 overlaps with a threshold in double precision."""
    nearest = np.float32(threshold)
    return float(nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-1)))


def _limit(threshold: float) -> float:
    """How far a logit must be above the background's for a score above `threshold`, with some room for rounding."""
    if threshold <= 0:
        return -math.inf
    if threshold >= 1:
        return math.inf
    return math.log(threshold / (1 - threshold)) - 0.01


def _detect(source: CSource, decoder: BoxDecoder) -> str:
    offsets, at = {}, 0
    for name, count in _sections(decoder, source.signature.arena_bytes).items():
        offsets[name] = at
        at += _rounded(count)
    scale = ", ".join(_number(1 / (255 * std)) for std in decoder.std)
    shift = ", ".join(_number(-mean / std) for mean, std in zip(decoder.mean, decoder.std, strict=True))
    tables, levels, outputs, written = [], [], [], 0
    for i, level in enumerate(decoder.levels):
        area = level.rows * level.columns
        sizes = ", ".join(f"{_number(width)}, {_number(height)}" for width, height in level.anchors)
        tables.append(f"static const float anchors_{i}[] = {{{sizes}}};")
        logits, written = written, written + len(level.anchors) * decoder.classes * area
        boxes, written = written, written + len(level.anchors) * 4 * area
        outputs += [f"outputs + {logits}", f"outputs + {boxes}"]
        shape = f"{level.rows}, {level.columns}, {len(level.anchors)}, {level.stride}"
        levels.append(f"{{{shape}, anchors_{i}, outputs + {logits}, outputs + {boxes}}}")
    (height, width), (padded_height, padded_width) = decoder.size, decoder.padded_size
    weights = "" if source.signature.embedded else "weights, "
    table = "\n".join(tables)
    level_rows = ",\n       ".join(levels)
    return f"""{table}

{_prototype(source)} {{
  if (!pixels || height < 1 || width < 1 || width > {decoder.max_width} || max_boxes < 1) return 0;
  char *const base = (char *)arena + (-(uintptr_t)arena & {ALIGNMENT - 1});
  float *const planes = (float *)(base + {offsets["planes"]}), *const outputs = (float *)(base + {offsets["outputs"]});
  const struct canvas canvas = {{{padded_height}, {padded_width}, {{{scale}}}, {{{shift}}}}};
  const struct detector detector = {{
      {decoder.classes}, {len(decoder.levels)}, {_number(decoder.score_threshold)}, {_number(at_most(decoder.nms_threshold))},
      {_number(_limit(decoder.score_threshold))}, {decoder.candidates_per_class}, {decoder.detections_per_picture},
      {{{level_rows}}}}};
  int resized_height = {height}, resized_width = {width};
{"  fit_into(height, width, &resized_height, &resized_width);" if decoder.letterbox else ""}
  resize_into(&canvas, pixels, height, width, row_stride, resized_height, resized_width, planes,
              (float *)(base + {offsets["row"]}), (int32_t *)(base + {offsets["columns"]}), (float *)(base + {offsets["shares"]}));
  {source.name}_run({weights}planes, {", ".join(outputs)}, base + {offsets["network"]});
  return find_boxes(&detector, resized_height, resized_width, height, width, (uint64_t *)(base + {offsets["keys"]}),
                    ({source.name}_box *)(base + {offsets["kept"]}), boxes, max_boxes);
}}
"""
