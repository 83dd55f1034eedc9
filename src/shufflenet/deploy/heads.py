"""A one-stage detector's network for a runtime without its post-processing: a file of raw maps, and beside it what makes boxes of them."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shufflenet import atomic
from shufflenet.checkpoints import Preprocessing
from shufflenet.deploy.detector import box_decoder, decoder_to_json
from shufflenet.deploy.exportable_heads import ExportableHeads
from shufflenet.deploy.parity import compare, require_parity, sample_pictures
from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes import FORMATS
from shufflenet.deploy.worker import start
from shufflenet.detection import Detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.quantized import QuantizedDetector
from shufflenet.errors import UserError

PARITY_PICTURES = 8
# Beside ONNX, which `shufflenet.deploy.detector` writes.
HEAD_FORMATS = tuple(name for name, runtime in FORMATS.items() if runtime.write_heads)


@dataclass(frozen=True)
class HeadsExport:
    """What was written. `max_relative_difference` is the largest from torch in any map, over the largest number of that map."""

    files: tuple[Path, ...]
    record: Path
    runtime: str
    pictures: int
    max_relative_difference: float


def export_heads_for(
    detector: Detector, path: Path, format: str, *, progress: Callable[[str], None] = lambda _: None
) -> HeadsExport:
    """Write a one-stage detector's network for the runtime `format`, run it there on real pictures, and write a .json beside it.

    The .json holds input, outputs, the parameters that lead to boxes, and the comparison with torch. `path` ends as the format's
    files do. Files appear complete, after the comparison, or not at all. Raises UserError for a layout or format without heads, a
    missing package, files in the way, and results further from float64 than three times torch's own.
    """
    heads, runtime = _heads(detector, path, format)
    assert runtime.write_heads is not None
    record = path.with_name(f"{path.name}.json")
    with atomic.writing_into(path.parent) as scratch:
        progress(f"{runtime.title}: converting")
        written = runtime.write_heads(heads, scratch)
        targets = tuple(path.parent / file.name for file in written)
        _refuse_to_replace(*targets)
        progress(f"{runtime.title}: comparing with torch on {PARITY_PICTURES} pictures")
        difference = _difference(heads, runtime, written[0])
        done = HeadsExport(targets, record, f"{runtime.title} {runtime.version}", PARITY_PICTURES, difference)
        description = _describe(heads, runtime, done, sum(file.stat().st_size for file in written))
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (scratch / record.name).write_text(text, encoding="utf-8")
    return done


def _heads(detector: Detector, path: Path, format: str) -> tuple[ExportableHeads, Runtime]:
    if format not in HEAD_FORMATS:
        raise UserError(f"there is no format {format!r} for detectors; it is one of onnx, {', '.join(HEAD_FORMATS)}")
    runtime = FORMATS[format]
    if not isinstance(detector, OneStageDetector):
        raise UserError(
            f"a detector of the layout {detector.config.layout} is not exported for {runtime.title}; train one with "
            "--layout ssdlite, or export ONNX"
        )
    if isinstance(detector, QuantizedDetector):
        raise UserError(
            f"{runtime.title} reads no network of integers as we write it; export ONNX, or the float32 detector it was made of"
        )
    name = path.name.removesuffix(runtime.suffix)
    if name in ("", path.name):
        raise UserError(f"{path} does not end in {runtime.suffix}, as files for {runtime.title} do; call it so")
    # Before a conversion that may take a minute.
    _refuse_to_replace(path, path.with_name(f"{path.name}.json"))
    if missing := runtime.missing():
        raise UserError(missing)
    return ExportableHeads(detector, name), runtime


def _refuse_to_replace(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise UserError(f"{path} is there already; choose another name, or remove it")


def _sample_inputs(detector: OneStageDetector, count: int) -> np.ndarray:
    """Real pictures as the network takes them."""
    config = detector.config
    pictures = sample_pictures(Preprocessing(size=config.size, mean=config.mean, std=config.std), count)
    prepare = copy.deepcopy(detector.transform).eval()
    with torch.inference_mode():
        return prepare(list(pictures / 255))[0].tensors.numpy()


def _as_rows(maps: tuple[Tensor, ...]) -> np.ndarray:
    """Maps of n pictures → [n, numbers], as runtimes give them."""
    return torch.cat([x.flatten(1) for x in maps], dim=1).numpy()


def _difference(heads: ExportableHeads, runtime: Runtime, path: Path) -> float:
    """How far the written file is from torch. Raises UserError where it computes something else."""
    inputs = _sample_inputs(heads.detector, PARITY_PICTURES)
    with start(runtime, path, inputs) as worker:
        outputs = worker.outputs
    module, pictures = heads.module(), torch.from_numpy(inputs)
    with torch.inference_mode():
        torchs = _as_rows(module(pictures))
        exact = _as_rows(copy.deepcopy(module).double()(pictures.double()))
    if outputs.shape != torchs.shape:
        raise UserError(
            f"{runtime.title} {runtime.version} gives {outputs.shape[1]:,} numbers a picture where torch gives {torchs.shape[1]:,}; "
            "nothing was written"
        )
    ends = np.cumsum([math.prod(output.shape) for output in heads.maps])[:-1]

    def apart(result: np.ndarray, reference: np.ndarray) -> float:
        """Map by map: logits and offsets are of other sizes."""
        pairs = zip(np.split(result, ends, axis=1), np.split(reference, ends, axis=1), strict=True)
        return max(compare(ours, theirs).max_relative_difference for ours, theirs in pairs)

    require_parity(runtime, apart(outputs, exact), apart(torchs, exact))
    return apart(outputs, torchs)


def _describe(heads: ExportableHeads, runtime: Runtime, done: HeadsExport, size: int) -> dict[str, Any]:
    """The .json beside an export."""
    return {
        "format": runtime.name,
        "files": [path.name for path in done.files],
        "bytes": size,
        "backbone": heads.detector.config.backbone,
        "input": {"shape": [1, *heads.input_shape], "layout": "NCHW", "channels": "RGB", "dtype": "float32"},
        "outputs": [
            {"name": runtime.output_name.format(number), **asdict(output)} for number, output in enumerate(heads.maps)
        ],
        "decoder": decoder_to_json(heads.detector, box_decoder(heads.detector.config)),
        "runtime": done.runtime,
        "parity": {"pictures": done.pictures, "max_relative_difference": done.max_relative_difference},
    }
