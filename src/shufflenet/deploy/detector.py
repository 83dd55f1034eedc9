"""A one-stage detector out of Python: its heads as an ONNX graph with the decode's parameters beside it, and both as one C source."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shufflenet.atomic import write_text
from shufflenet.compiler import Compiled, build, compile_onnx
from shufflenet.compiler.c.one_stage import BoxLevel, OneStageDecoder, with_boxes
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.run.detector import CompiledDetector
from shufflenet.detection import Detector, OneStageConfig
from shufflenet.detection.evaluate import Finder
from shufflenet.detection.export import export_heads_onnx
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.errors import UserError


def box_decoder(config: OneStageConfig) -> OneStageDecoder:
    """What the C does before and behind the network."""
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


def one_stage(detector: Detector) -> OneStageDetector:
    """`detector`, if it compiles whole. Raises UserError for layouts of two stages."""
    if not isinstance(detector, OneStageDetector):
        raise UserError(
            f"a detector of the layout {detector.config.layout} does not compile whole; train one with --layout ssdlite, "
            "or compile its backbone (`shufflenet detect export FOLDER FILE.onnx --backbone HxW`)"
        )
    return detector


def export_heads(detector: Detector, path: Path) -> tuple[Path, Path]:
    """Write a one-stage detector's heads as ONNX, and beside it as JSON what decodes them; both paths.

    Raises UserError for two stages, or where a file is there.
    """
    detector = one_stage(detector)
    parameters = path.with_suffix(".json")
    if parameters.exists():
        raise UserError(f"{parameters} is there already; choose another name, or remove it")
    export_heads_onnx(detector, path)
    write_text(parameters, json.dumps(asdict(box_decoder(detector.config)), indent=2, ensure_ascii=False) + "\n")
    return path, parameters


def compile_detector_source(
    detector: Detector, *, name: str = "detector", embed: bool | None = None
) -> tuple[Compiled, CSource]:
    """The compiled network, with its figures, and the C source of the whole detector. Raises UserError for two stages."""
    detector = one_stage(detector)
    config = detector.config
    with tempfile.TemporaryDirectory() as folder:
        model = export_heads_onnx(detector, Path(folder) / "heads.onnx")
        height, width = config.size
        title = f"{config.backbone['name']}, ssdlite, {len(config.categories)} classes, pictures resized to {height}×{width}"
        compiled = compile_onnx(model, name=name, title=title, embed=embed)
    return compiled, with_boxes(compiled.source, box_decoder(config))


def compile_detector(detector: Detector) -> CompiledDetector:
    """A one-stage detector as one C function, called from Python. Raises UserError for two stages."""
    _, source = compile_detector_source(detector)
    return CompiledDetector(build(source), box_decoder(one_stage(detector).config))


def compiled_finder(detector: Detector) -> Finder:
    """The compiled twin of a one-stage detector, called as the detector is. Raises UserError for pictures too wide for it."""
    compiled = compile_detector(detector)

    def look(picture: Tensor) -> dict[str, Tensor]:
        if picture.shape[2] > compiled.decoder.max_width:
            raise UserError(
                f"a picture is {picture.shape[2]} pixels wide; the compiled detector takes {compiled.decoder.max_width} at most, "
                "so make it smaller, or use --engine torch"
            )
        pixels = (picture * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy()
        found = compiled(pixels)
        fields = {"boxes": found["box"], "labels": found["label"].astype(np.int64), "scores": found["score"]}
        return {name: torch.from_numpy(np.array(values)) for name, values in fields.items()}

    return lambda pictures: [look(picture) for picture in pictures]
