"""A detector out of Python: its network as an ONNX graph with what leads to boxes beside it, and both as one C source."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork

from shufflenet.atomic import write_text
from shufflenet.compiler import Compiled, build, compile_onnx
from shufflenet.compiler.c import one_stage, two_stage
from shufflenet.compiler.c.boxes import BoxDecoder
from shufflenet.compiler.c.one_stage import BoxLevel, OneStageDecoder
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.c.two_stage import ProposalLevel, RegionMap, TwoStageDecoder, least_areas
from shufflenet.compiler.graph.elements import NumberType
from shufflenet.compiler.run.detector import CompiledDetector
from shufflenet.detection import Detector, OneStageConfig
from shufflenet.detection.cost import resized
from shufflenet.detection.evaluate import Finder
from shufflenet.detection.export import export_heads_onnx, export_proposals_onnx
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.two_stage import PYRAMID_STRIDES, TwoStageDetector
from shufflenet.errors import UserError
from shufflenet.nets import Size, height_width

# Three vectors of the widest machine: register tiles of 8 rows fill its registers.
REGIONS_AT_ONCE = 48


def box_decoder(config: OneStageConfig) -> OneStageDecoder:
    """What the C does before and behind the network of an SSD."""
    levels = zip(config.strides, config.grids, config.anchors, strict=True)
    return OneStageDecoder(
        size=config.size,
        padded_size=config.padded_size,
        letterbox=config.letterbox,
        mean=config.mean,
        std=config.std,
        class_names=tuple(category.name for category in config.categories),
        levels=tuple(BoxLevel(stride, rows, columns, anchors) for stride, (rows, columns), anchors in levels),
        score_threshold=config.score_threshold,
        nms_threshold=config.nms_threshold,
        candidates_per_class=config.candidates_per_class,
        detections_per_picture=config.detections_per_picture,
    )


def region_decoder(detector: TwoStageDetector, padded_size: tuple[int, int]) -> TwoStageDecoder:
    """What the C does before, between and behind the networks of a Faster R-CNN, for pictures that are padded to so much."""
    config, (height, width) = detector.config, padded_size
    grids = [(-(-height // stride), -(-width // stride)) for stride in PYRAMID_STRIDES]
    rpn, generator = detector.get_submodule("rpn"), detector.get_submodule("rpn.anchor_generator")
    assert isinstance(rpn, RegionProposalNetwork)
    assert isinstance(generator, AnchorGenerator)
    maps = zip(grids, PYRAMID_STRIDES[:-1], least_areas(PYRAMID_STRIDES[:-1]), strict=False)
    return TwoStageDecoder(
        padded_size=padded_size,
        short_side=config.short_side,
        long_side=config.long_side,
        mean=config.mean,
        std=config.std,
        class_names=tuple(category.name for category in config.categories),
        levels=tuple(
            ProposalLevel(
                rows,
                columns,
                (height // rows, width // columns),
                tuple((2 * x2, 2 * y2) for _, _, x2, y2 in own.tolist()),
            )
            for (rows, columns), own in zip(grids, generator.cell_anchors, strict=True)
        ),
        candidates_per_level=6 * config.proposals_test,
        proposals=config.proposals_test,
        proposal_nms_threshold=rpn.nms_thresh,
        maps=tuple(RegionMap(rows, columns, stride, area) for (rows, columns), stride, area in maps),
        channels=config.pyramid_channels,
        pool_size=config.pool_size,
        regions_at_once=REGIONS_AT_ONCE,
        score_threshold=config.score_threshold,
        nms_threshold=config.nms_threshold,
        detections_per_picture=config.detections_per_picture,
    )


def picture_size(detector: Detector, size: Size | None = None) -> tuple[int, int]:
    """The size of pictures that a detector is compiled for: of an SSD its own, of others `size`, by default a square of the short side.

    Raises UserError for a layout that does not compile whole, and for an SSD with a size.
    """
    if isinstance(detector, OneStageDetector):
        if size:
            raise UserError("a detector of the layout ssdlite has its own size; leave out --size")
        return detector.config.size
    if detector.config.layout != "fpn":
        raise UserError(
            f"a detector of the layout {detector.config.layout} does not compile whole; train one with --layout ssdlite or fpn, "
            "or compile its backbone (`shufflenet detect export FOLDER FILE.onnx --backbone HxW`)"
        )
    return height_width(size or detector.config.short_side)


def _graph(detector: Detector, path: Path, size: Size | None) -> BoxDecoder:
    """Write a detector's network; its decoder."""
    height, width = picture_size(detector, size)
    if isinstance(detector, OneStageDetector):
        export_heads_onnx(detector, path)
        return box_decoder(detector.config)
    padded_size = resized(detector.config, (height, width))
    export_proposals_onnx(detector, path, padded_size=padded_size, regions=REGIONS_AT_ONCE)
    return region_decoder(detector, padded_size)


def decoder_to_json(detector: Detector, decoder: BoxDecoder) -> dict[str, Any]:
    """Everything that leads from what a network computes to boxes.

    A box coder's `weights` are what the offsets are divided by; offsets of width and height, then, are at most `clip`.
    """
    if isinstance(detector, OneStageDetector):
        return {**asdict(decoder), "box_coder": _coder_to_json(detector.box_coder)}
    rpn, head = detector.get_submodule("rpn"), detector.get_submodule("roi_heads")
    assert isinstance(rpn, RegionProposalNetwork)
    assert isinstance(head, RoIHeads)
    coders = {"proposal_box_coder": rpn.box_coder, "box_coder": head.box_coder}
    return {**asdict(decoder), **{name: _coder_to_json(coder) for name, coder in coders.items()}}


def _coder_to_json(coder: BoxCoder) -> dict[str, Any]:
    return {"weights": coder.weights, "clip": coder.bbox_xform_clip}


def export_heads(detector: Detector, path: Path, size: Size | None = None) -> tuple[Path, Path]:
    """Write what a detector computes without its post-processing as ONNX, and beside it as JSON what leads to boxes; both paths.

    Raises UserError for the layout `paper`, or where a file is there.
    """
    parameters = path.with_suffix(".json")
    if parameters.exists():
        raise UserError(f"{parameters} is there already; choose another name, or remove it")
    decoder = _graph(detector, path, size)
    write_text(parameters, json.dumps(decoder_to_json(detector, decoder), indent=2, ensure_ascii=False) + "\n")
    return path, parameters


def compile_detector_source(
    detector: Detector,
    *,
    name: str = "detector",
    size: Size | None = None,
    embed: bool | None = None,
    weights: NumberType | None = None,
) -> tuple[Compiled, CSource, BoxDecoder]:
    """The compiled network, with its figures, the C source of the whole detector, for pictures of `size` (`picture_size`), and what it
    does beside the network. `weights` float16 stores them so, for float32 arithmetic.

    Raises UserError as `picture_size` does.
    """
    config = detector.config
    height, width = picture_size(detector, size)
    of = "resized to" if isinstance(detector, OneStageDetector) else "of"
    title = (
        f"{config.backbone['name']}, {config.layout}, {len(config.categories)} classes, pictures {of} {height}×{width}"
    )
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "detector.onnx"
        decoder = _graph(detector, model, size)
        apart = isinstance(decoder, TwoStageDecoder)
        compiled = compile_onnx(model, name=name, title=title, embed=embed, apart=apart, weights=weights)
    if isinstance(decoder, TwoStageDecoder):
        return compiled, two_stage.with_boxes(compiled.source, decoder), decoder
    assert isinstance(decoder, OneStageDecoder)
    return compiled, one_stage.with_boxes(compiled.source, decoder), decoder


def compile_detector(detector: Detector, size: Size | None = None) -> CompiledDetector:
    """A detector as one C function, called from Python, for pictures of `size`. Raises UserError as `picture_size` does."""
    # Its weights beside it: a C compiler takes long to read the millions of a Faster R-CNN's head.
    embed = None if isinstance(detector, OneStageDetector) else False
    _, source, decoder = compile_detector_source(detector, size=size, embed=embed)
    return CompiledDetector(build(source), decoder)


def compiled_finder(detector: Detector) -> Finder:
    """The compiled twin of a detector, called as the detector is. Raises UserError for pictures too wide for it.

    A Faster R-CNN is compiled anew for each size that pictures are padded to, so that boxes are always torch's.
    """
    made: dict[tuple[int, int] | None, CompiledDetector] = {}
    if isinstance(detector, OneStageDetector):
        made[None] = compile_detector(detector)
    else:
        picture_size(detector)

    def look(picture: Tensor) -> dict[str, Tensor]:
        height, width = picture.shape[1:]
        padded_size = None if isinstance(detector, OneStageDetector) else resized(detector.config, (height, width))
        if padded_size not in made:
            made[padded_size] = compile_detector(detector, (height, width))
        compiled = made[padded_size]
        if width > compiled.decoder.max_width:
            raise UserError(
                f"a picture is {width} pixels wide; the compiled detector takes {compiled.decoder.max_width} at most, "
                "so make it smaller, or use --engine torch"
            )
        pixels = (picture * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy()
        found = compiled(pixels)
        fields = {"boxes": found["box"], "labels": found["label"].astype(np.int64), "scores": found["score"]}
        return {name: torch.from_numpy(np.array(values)) for name, values in fields.items()}

    return lambda pictures: [look(picture) for picture in pictures]
