"""A detector on disk: config.json and model.safetensors, as classifiers have them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shufflenet.checkpoints.folder import (
    CONFIG_NAME,
    DETECTOR,
    WEIGHTS_NAME,
    mismatch,
    read_config,
    read_weights,
    write_folder,
)
from shufflenet.detection.config import OneStageConfig, config_from_json
from shufflenet.detection.detector import Detector, build_detector
from shufflenet.detection.quantized import QuantizedDetector, empty
from shufflenet.errors import UserError
from shufflenet.nets import VariantError


def save_detector(detector: Detector, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write `detector` as a folder that `load_detector` reads. Folders are treated as in `shufflenet.save`."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    config = {"format": DETECTOR, "detector": detector.config.to_json(), "training": detector.training_record}
    if isinstance(detector, QuantizedDetector):
        config["quantization"] = detector.network.record
    return write_folder(Path(folder), config, weights, overwrite=overwrite)


def is_detector(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a detector, and not a classifier or nothing."""
    try:
        return read_config(Path(folder)).get("format") == DETECTOR
    except (UserError, OSError):
        return False


def _empty(record: Mapping[str, Any]) -> Detector:
    """What a config describes, its tensors to be assigned."""
    config, quantization = config_from_json(record["detector"]), record.get("quantization")
    if quantization is None:
        return build_detector(config)
    if not isinstance(config, OneStageConfig) or not isinstance(quantization, dict):
        raise UserError("its 'quantization' is not an object, or not of the layout ssdlite")
    return empty(config, str(quantization.get("activations")))


def load_detector(folder: str | os.PathLike[str]) -> Detector:
    """The detector that `save_detector` wrote, in eval mode. Raises UserError for whatever is wrong with the folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}; give a detector's folder, such as `shufflenet detect train` writes"
        )
    record = read_config(folder)
    if record.get("format") != DETECTOR or not isinstance(record.get("detector"), dict):
        raise UserError(f"{folder} holds a classifier or something else; `shufflenet detect train` makes detectors")
    try:
        detector = _empty(record)
    except (VariantError, UserError, TypeError) as error:
        raise UserError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    weights = read_weights(folder)
    complaint = mismatch(detector.state_dict(), weights)
    if complaint:
        raise UserError(f"{folder / WEIGHTS_NAME} does not fit what {CONFIG_NAME} describes: it {complaint}")
    detector.load_state_dict(weights, assign=True)
    detector.training_record = record.get("training", {})
    return detector.eval()
