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
from shufflenet.quantization.bias_correction import correct_biases
from shufflenet.quantization.calibration import calibrate
from shufflenet.quantization.equalization import equalize
from shufflenet.quantization.noise import layer_noise
from shufflenet.quantization.post_training import CALIBRATION, PICTURES, check_calibration
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
def calibrated_detector(
    detector: Detector,
    annotations: Annotations,
    *,
    activations: str = "u8",
    calibration: str = CALIBRATION,
    equalization: bool = True,
    bias_correction: bool = True,
    pictures: int = PICTURES,
    seed: int = 0,
) -> QuantizedDetector:
    """A one-stage detector with 8-bit weights and activations, in the form that still learns (`integers()` gives the other).

    `pictures` of `annotations` calibrate, chosen by `seed`; their boxes are not read. Options are those of `quantize`. Raises UserError
    for a detector of two stages, one that is int8 already, an unknown element or method, and no pictures.
    """
    name, layout = detector.config.backbone["name"], detector.config.layout
    if not isinstance(detector, OneStageDetector):
        raise UserError(f"a detector of the layout {layout} cannot be quantized; train one with --layout ssdlite")
    if isinstance(detector, QuantizedDetector):
        raise UserError(f"the detector on {name} is int8 already; give the float32 detector that it was made of")
    check_calibration(activations, calibration, min(pictures, len(annotations.pictures)))
    quantized = QuantizedDetector(detector, activations).eval()
    inputs = DetectorInputs(annotations, detector.eval(), pictures, seed)
    if equalization:
        equalize(quantized.network, inputs)
    config = detector.config
    calibrate(quantized.network, inputs, Preprocessing(mean=config.mean, std=config.std), calibration)
    if bias_correction:
        correct_biases(quantized.network, inputs, CORRECTING_PICTURES)
    return quantized


def quantize_and_test_detector(
    detector: Detector,
    training_set: Annotations,
    test_set: Annotations,
    folder: Path,
    *,
    activations: str = "u8",
    calibration: str = CALIBRATION,
    equalization: bool = True,
    bias_correction: bool = True,
    pictures: int = PICTURES,
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
    learning = calibrated_detector(
        detector,
        training_set,
        activations=activations,
        calibration=calibration,
        equalization=equalization,
        bias_correction=bias_correction,
        pictures=pictures,
    )
    record: dict[str, Any] = {
        "activations": activations,
        "calibration": calibration,
        "equalization": equalization,
        "bias_correction": bias_correction,
        "calibration_pictures": min(pictures, len(training_set.pictures)),
    }
    say("testing the float32 detector")
    record["float32"] = _figures(evaluate(detector, test_set, workers=workers), detector)
    say("testing the detector of integers")
    quantized = learning.integers()
    record["post_training"] = _figures(evaluate(quantized, test_set, workers=workers), quantized)
    assert isinstance(detector, OneStageDetector)
    shown = DetectorInputs(training_set, detector, min(pictures, NOISE_PICTURES))
    record["layers"] = [asdict(row) for row in layer_noise(learning.network, shown)]
    scores = {name: value for name, value in record["post_training"].items() if name != "bytes"}
    kept = {name: value for name, value in record.items() if name != "layers"}
    quantized.training_record = {**detector.training_record, **scores, "quantization": kept}
    save_detector(quantized, folder, overwrite=overwrite)
    return record


def _figures(scores: DetectionScores, detector: Detector) -> dict[str, Any]:
    return {**asdict(scores), "bytes": stored_bytes(detector)}
