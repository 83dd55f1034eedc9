"""An SSD's C source: its network's with NAME_detect_rgb8."""

import math
from dataclasses import dataclass

from shufflenet.compiler.c.boxes import (
    BOX_BYTES,
    MOST_LEVELS,
    THREADS,
    BoxDecoder,
    DetectionCode,
    Section,
    SectionPointer,
    at_most,
    number,
    numbers,
    on_threads,
    with_detection,
)
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.errors import CompileError

LIKELY_BYTES = 12  # struct likely


@dataclass(frozen=True)
class BoxLevel:
    """A map that predicts: `anchors` has the (width, height) of each anchor, centred on every `stride`-th pixel."""

    stride: int
    rows: int
    columns: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class OneStageDecoder(BoxDecoder):
    """An SSD's parameters.

    The graph gives for each level, finest first, logits [1, anchors · classes, rows, columns] and offsets
    [1, anchors · 4, rows, columns]. Pictures are resized to `size` (height, width), or with `letterbox` into it.
    """

    size: tuple[int, int]
    letterbox: bool
    levels: tuple[BoxLevel, ...]
    candidates_per_class: int

    @property
    def anchor_count(self) -> int:
        """Of all levels."""
        return sum(level.rows * level.columns * len(level.anchors) for level in self.levels)

    def sections(self, network_bytes: int) -> dict[str, Section]:
        candidates = len(self.class_names) * self.candidates_per_class
        return {
            **self._picture_sections(),
            "network": Section(network_bytes, 1, 1),
            "outputs": Section(4 * self.anchor_count * (self.classes + 4), 1, 2),
            "likely": Section(LIKELY_BYTES * self.anchor_count, 2, 2),
            "keys": Section(8 * max(self.anchor_count, candidates), 2, 2),
            "kept": Section(BOX_BYTES * candidates, 2, 2),
        }


def with_boxes(source: CSource, decoder: OneStageDecoder) -> CSource:
    """`source`, of the graph that `decoder` describes, with NAME_detect_rgb8. Raises CompileError if the two do not fit."""
    _check(source, decoder)
    return with_detection(source, decoder, lambda memory: _detection(source, decoder, memory))


def _check(source: CSource, decoder: OneStageDecoder) -> None:
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


def _limit(threshold: float) -> float:
    """How far a logit must be above the background's for a score above `threshold`, with some room for rounding."""
    if threshold <= 0:
        return -math.inf
    if threshold >= 1:
        return math.inf
    return math.log(threshold / (1 - threshold)) - 0.01


def _detection(source: CSource, decoder: OneStageDecoder, memory: SectionPointer) -> DetectionCode:
    tables, levels, outputs, written = [], [], [], 0
    for i, level in enumerate(decoder.levels):
        area = level.rows * level.columns
        tables.append(f"static const float anchors_{i}[] = {{{numbers([s for box in level.anchors for s in box])}}};")
        logits, written = written, written + len(level.anchors) * decoder.classes * area
        boxes, written = written, written + len(level.anchors) * 4 * area
        outputs += [f"outputs + {logits}", f"outputs + {boxes}"]
        shape = f"{level.rows}, {level.columns}, {len(level.anchors)}, {level.stride}"
        levels.append(f"{{{shape}, anchors_{i}, outputs + {logits}, outputs + {boxes}}}")
    height, width = decoder.size
    weights = "" if source.signature.embedded else "weights, "
    thresholds = (decoder.score_threshold, at_most(decoder.nms_threshold), _limit(decoder.score_threshold))
    resized = [f"int resized_height = {height}, resized_width = {width};"]
    if decoder.letterbox:
        resized.append("fit_into(height, width, &resized_height, &resized_width);")
    return DetectionCode(
        kernel="one_stage",
        tables=tables,
        resized=resized,
        behind=(
            f"float *const outputs = {memory('outputs')};",
            *_run(source, f"{weights}planes, {', '.join(outputs)}", memory),
            "const struct detector detector = {",
            f"    {decoder.classes}, {len(decoder.levels)}, {', '.join(map(number, thresholds))},",
            f"    {decoder.candidates_per_class}, {decoder.detections_per_picture},",
            f"    {{{', '.join(levels)}}}}};",
            "return find_boxes(&detector, resized_height, resized_width, height, width,",
            f"                  {memory('likely', 'struct likely')}, {memory('keys', 'uint64_t')},",
            f"                  {memory('kept', f'{source.name}_box')}, boxes, max_boxes);",
        ),
    )


def _run(source: CSource, arrays: str, memory: SectionPointer) -> tuple[str, ...]:
    alone = f"{source.name}_run({arrays}, {memory('network', 'char')});"
    if not on_threads(source):
        return (alone,)
    parallel = f"{source.name}_run_on({arrays}, {memory(THREADS, 'char')}, parallel_for, context);"
    return (f"if (parallel_for) {parallel}", f"else {alone}")
