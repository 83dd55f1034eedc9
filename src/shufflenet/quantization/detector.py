"""A one-stage detector as integers: calibrated on annotated pictures, tested beside the float32 detector, saved."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from shufflenet.checkpoints import Preprocessing
from shufflenet.detection import Annotations, DetectionScores, Detector, evaluate, save_detector
from shufflenet.detection.dataset import DetectionDataset
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.quantized import QuantizedDetector
from shufflenet.errors import UserError
from shufflenet.quantization.method import USUAL, Method
from shufflenet.quantization.noise import layer_noise
from shufflenet.quantization.report import NOISE_PICTURES, refuse_full_folder, stored_bytes

BATCH_SIZE = 8
CORRECTING_PICTURES = 32  # larger than a classifier's


class DetectorInputs(Iterable[Tensor]):
    """What a detector's network sees of some pictures of a data set, [n, 3, h, w], the same in every walk."""

    def __init__(self, annotations: Annotations, detector: OneStageDetector, pictures: int, seed: int = 0) -> None:
        self.dataset = DetectionDataset(annotations, detector.config.categories, seed=seed)
        self.chosen = self.dataset.order(0)[:pictures].tolist()
        self.transform = detector.transform

    def __iter__(self) -> Iterator[Tensor]:
        for first in range(0, len(self.chosen), BATCH_SIZE):
            batch = [self.dataset[index][0] for index in self.chosen[first : first + BATCH_SIZE]]
            yield self.transform(batch)[0].tensors


@torch.no_grad()
def calibrated_detector(detector: Detector, annotations: Annotations, method: Method = USUAL) -> QuantizedDetector:
    """A one-stage detector with 8-bit weights and activations, in the form that still learns (`integers()` gives the other).

    Boxes of `annotations` are not read. Raises UserError for a detector of two stages, one that is int8 already, an unknown element or
    calibration, and no pictures.
    """
    name, layout = detector.config.backbone["name"], detector.config.layout
    if not isinstance(detector, OneStageDetector):
        raise UserError(f"a detector of the layout {layout} cannot be quantized; train one with --layout ssdlite")
    if isinstance(detector, QuantizedDetector):
        raise UserError(f"the detector on {name} is int8 already; give the float32 detector that it was made of")
    method.check(len(annotations.pictures))
    quantized = QuantizedDetector(detector, method.activations).eval()
    inputs = DetectorInputs(annotations, detector.eval(), method.pictures, method.seed)
    seen_as = Preprocessing(mean=detector.config.mean, std=detector.config.std)
    method.apply(quantized.network, inputs, seen_as, CORRECTING_PICTURES)
    return quantized


def quantize_and_test_detector(
    detector: Detector,
    training_set: Annotations,
    test_set: Annotations,
    folder: Path,
    *,
    method: Method = USUAL,
    overwrite: bool = False,
    workers: int = 0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Quantize `detector`, save it in `folder`, and return what became of it, JSON-ready.

    The record has COCO's figures, from 0 to 1, and bytes of "float32" and "post_training", and the noise of all "layers", the worst
    first. config.json keeps it under training.quantization. Raises UserError as `calibrated_detector`, `evaluate` and `save_detector` do.
    """
    refuse_full_folder(folder, overwrite=overwrite)
    say = console.print if console else lambda _: None
    say("calibrating")
    learning = calibrated_detector(detector, training_set, method)
    record = method.record(len(training_set.pictures))
    say("testing the float32 detector")
    record["float32"] = _figures(evaluate(detector, test_set, workers=workers), detector)
    say("testing the detector of integers")
    quantized = learning.integers()
    record["post_training"] = _figures(evaluate(quantized, test_set, workers=workers), quantized)
    assert isinstance(detector, OneStageDetector)
    shown = DetectorInputs(training_set, detector, min(method.pictures, NOISE_PICTURES))
    record["layers"] = [asdict(row) for row in layer_noise(learning.network, shown)]
    scores = {name: value for name, value in record["post_training"].items() if name != "bytes"}
    kept = {name: value for name, value in record.items() if name != "layers"}
    quantized.training_record = {**detector.training_record, **scores, "quantization": kept}
    save_detector(quantized, folder, overwrite=overwrite)
    return record


def _figures(scores: DetectionScores, detector: Detector) -> dict[str, Any]:
    return {**asdict(scores), "bytes": stored_bytes(detector)}
