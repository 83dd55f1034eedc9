"""A Faster R-CNN's C source: its two networks' with NAME_detect_rgb8."""

import math
from dataclasses import dataclass

from shufflenet.compiler.c.boxes import (
    MOST_LEVELS,
    BoxDecoder,
    DetectionCode,
    Section,
    SectionPointer,
    at_most,
    number,
    numbers,
    with_detection,
)
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.elements import FLOAT32
from shufflenet.compiler.plan.alignment import whole_lines

# kernels/two_stage.c's constants.
POOL_MOST = 16
SIDE_BY_SIDE = 16
AT_ONCE = 64
KEPT_ROWS = 6


@dataclass(frozen=True)
class ProposalLevel:
    """A map where regions are proposed: `anchors` has the (width, height) of each anchor. Those of a row lie `step[0]` pixels of the
    resized picture below those of the one above, those of a column `step[1]` to the right, the first around the corner."""

    rows: int
    columns: int
    step: tuple[int, int]
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RegionMap:
    """A map that regions are cut out of: those that cover `least_area` pixels of the resized picture, and no later map's least."""

    rows: int
    columns: int
    stride: int
    least_area: float


@dataclass(frozen=True, kw_only=True)
class TwoStageDecoder(BoxDecoder):
    """A Faster R-CNN's parameters.

    The graph has two networks. The first takes `picture` and gives for each level objectness [1, anchors, rows, columns] and offsets
    [1, anchors · 4, rows, columns], then the maps [1, channels, rows, columns]. The second takes `regions`,
    [1, pool_size² · channels, 1, regions_at_once], a pixel a region, features bin by bin, and gives logits
    [1, classes, 1, regions_at_once] and offsets [1, classes · 4, 1, regions_at_once].

    A picture's short side becomes `short_side`, but its long one no more than `long_side`; where it does not fit `padded_size` then,
    it becomes the largest of its shape that does.
    """

    short_side: int
    long_side: int
    levels: tuple[ProposalLevel, ...]
    candidates_per_level: int
    proposals: int
    proposal_nms_threshold: float
    maps: tuple[RegionMap, ...]
    channels: int
    pool_size: int
    regions_at_once: int

    @property
    def anchor_count(self) -> int:
        """Of all levels."""
        return sum(level.rows * level.columns * len(level.anchors) for level in self.levels)

    @property
    def features(self) -> int:
        """Of a region."""
        return self.pool_size**2 * self.channels

    @property
    def most_regions(self) -> int:
        """In whole runs of the second network."""
        return -(-self.proposals // self.regions_at_once) * self.regions_at_once

    def sections(self, network_bytes: int) -> dict[str, Section]:
        # Phases: 2 proposes, 3 makes the maps ready, 4 is the second network and what it reads, 5 finds objects.
        pixels = sum(level.rows * level.columns for level in self.maps)
        depth = whole_lines(self.channels, FLOAT32)
        scores = len(self.class_names) * self.proposals
        return {
            **self._picture_sections(),
            "picture_network": Section(network_bytes, 1, 1),
            "proposed": Section(4 * 5 * self.anchor_count, 1, 2),
            "maps": Section(4 * self.channels * pixels, 1, 3),
            "anchor_keys": Section(8 * self.anchor_count, 2, 2),
            "regions": Section(4 * KEPT_ROWS * _room(self.proposals), 2, 5),
            "channels_last": Section(4 * depth * pixels, 3, 4),
            "means": Section(4 * depth * SIDE_BY_SIDE, 4, 4),
            "features": Section(4 * self.features * self.regions_at_once, 4, 4),
            "regions_network": Section(network_bytes, 4, 4),
            "outputs": Section(4 * 5 * self.classes * self.most_regions, 4, 5),
            "keys": Section(8 * scores, 5, 5),
            "kept": Section(4 * KEPT_ROWS * _room(self.detections_per_picture), 5, 5),
        }


def _room(count: int) -> int:
    return -(-count // AT_ONCE) * AT_ONCE


def with_boxes(source: CSource, decoder: TwoStageDecoder) -> CSource:
    """`source`, of the graph that `decoder` describes, its networks apart, with NAME_detect_rgb8. Raises CompileError if the two do
    not fit."""
    _check(source, decoder)
    return with_detection(source, decoder, lambda memory: _detection(source, decoder, memory))


def _check(source: CSource, decoder: TwoStageDecoder) -> None:
    for what, count in (("levels", len(decoder.levels)), ("maps", len(decoder.maps))):
        if not 1 <= count <= MOST_LEVELS:
            raise CompileError(f"a detector of {count} {what} cannot be compiled; it has 1 to {MOST_LEVELS}.")
    if not 1 <= decoder.pool_size <= POOL_MOST:
        raise CompileError(
            f"regions of {decoder.pool_size} bins a side cannot be compiled; they have 1 to {POOL_MOST}."
        )
    if decoder.regions_at_once % SIDE_BY_SIDE:
        raise CompileError(f"regions_at_once is {decoder.regions_at_once}; it is a multiple of {SIDE_BY_SIDE}.")
    wanted = [
        count * level.rows * level.columns
        for level in decoder.levels
        for count in (len(level.anchors), len(level.anchors) * 4)
    ]
    wanted += [decoder.channels * level.rows * level.columns for level in decoder.maps]
    wanted += [count * decoder.regions_at_once for count in (decoder.classes, 4 * decoder.classes)]
    given = [output.floats for output in source.signature.outputs]
    inputs = ((3, *decoder.padded_size), (decoder.features, 1, decoder.regions_at_once))
    if given != wanted or source.signature.input_shapes != inputs:
        raise CompileError(
            f"the graph takes {source.signature.input_shapes} and gives {given} numbers, the detector's parameters call for "
            f"{inputs} and {wanted}; export both from one detector."
        )


def _detection(source: CSource, decoder: TwoStageDecoder, memory: SectionPointer) -> DetectionCode:
    tables, levels, maps, outputs, written = [], [], [], [], 0
    for i, level in enumerate(decoder.levels):
        count = level.rows * level.columns * len(level.anchors)
        tables.append(f"static const float anchors_{i}[] = {{{numbers([s for box in level.anchors for s in box])}}};")
        outputs += [f"proposed + {written}", f"proposed + {written + count}"]
        shape = f"{level.rows}, {level.columns}, {len(level.anchors)}, {level.step[0]}, {level.step[1]}"
        levels.append(f"{{{shape}, anchors_{i}, {outputs[-2]}, {outputs[-1]}}}")
        written += 5 * count
    depth, pixels = whole_lines(decoder.channels, FLOAT32), 0
    for level in decoder.maps:
        outputs.append(f"maps + {pixels * decoder.channels}")
        shape = f"{level.rows}, {level.columns}, {number(1 / level.stride)}, {number(level.least_area)}"
        maps.append(f"{{{shape}, {outputs[-1]}, channels_last + {pixels * depth}}}")
        pixels += level.rows * level.columns
    height, width = decoder.padded_size
    counts = (
        len(levels), len(maps), decoder.channels, depth, decoder.pool_size, decoder.classes, decoder.candidates_per_level,
        decoder.proposals, decoder.detections_per_picture, decoder.regions_at_once,
    )  # fmt: skip
    thresholds = (
        at_most(decoder.proposal_nms_threshold),
        at_most(decoder.nms_threshold),
        decoder.score_threshold,
    )
    weights = "" if source.signature.embedded else "weights, "
    return DetectionCode(
        kernel="two_stage",
        tables=tables,
        resized=(
            "int resized_height, resized_width;",
            f"scale_sides(height, width, {decoder.short_side}, {decoder.long_side}, &resized_height, &resized_width);",
            f"if (resized_height > {height} || resized_width > {width}) {{",
            f"  resized_height = {height}, resized_width = {width};",
            "  fit_into(height, width, &resized_height, &resized_width);",
            "}",
        ),
        behind=(
            f"float *const proposed = {memory('proposed')}, *const maps = {memory('maps')};",
            f"float *const channels_last = {memory('channels_last')}, *const features = {memory('features')};",
            f"{source.name}_run_picture({weights}planes, {', '.join(outputs)}, {memory('picture_network', 'char')});",
            "const struct detector detector = {",
            f"    {', '.join(map(str, counts))}, {', '.join(map(number, thresholds))},",
            f"    {{{', '.join(levels)}}},",
            f"    {{{', '.join(maps)}}}}};",
            f"struct kept regions = none_yet({memory('regions')}, {_room(decoder.proposals)});",
            f"propose(&detector, resized_height, resized_width, {memory('anchor_keys', 'uint64_t')}, &regions);",
            "put_channels_last(&detector);",
            f"float *const logits = {memory('outputs')}, *const offsets = logits + {decoder.classes * decoder.most_regions};",
            f"for (int first = 0; first < regions.count; first += {decoder.regions_at_once}) {{",
            f"  align_regions(&detector, &regions, first, {memory('means')}, features);",
            f"  {source.name}_run_regions({weights}features, logits + first * {decoder.classes},",
            f"      offsets + first * {4 * decoder.classes}, {memory('regions_network', 'char')});",
            "}",
            f"struct kept kept = none_yet({memory('kept')}, {_room(decoder.detections_per_picture)});",
            "return find_objects(&detector, &regions, logits, offsets, resized_height, resized_width, height, width,",
            f"                    {memory('keys', 'uint64_t')}, &kept, boxes, max_boxes);",
        ),
    )


def least_areas(strides: tuple[int, ...]) -> tuple[float, ...]:
    """From which area on, in pixels, a region belongs to the map of each stride: torchvision's LevelMapper, of which a region of
    224 × 224 pixels is at stride 16 (arXiv 1612.03144, equation 1)."""
    sides = (0.0, *(224 * stride / 16 * 2**-1e-6 for stride in strides[1:]))
    return tuple(math.pow(side, 2) for side in sides)
