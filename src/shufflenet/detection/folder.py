"""A detector on disk: config.json and model.safetensors, as classifiers have them."""

import os
from pathlib import Path

from shufflenet.checkpoints.folder import (
    CONFIG_NAME,
    DETECTOR,
    WEIGHTS_NAME,
    mismatch,
    read_config,
    read_weights,
    write_folder,
)
from shufflenet.detection.config import config_from_json
from shufflenet.detection.detector import Detector, build_detector
from shufflenet.errors import UserError
from shufflenet.nets import VariantError


def save_detector(detector: Detector, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write `detector` as a folder that `load_detector` reads. Folders are treated as in `shufflenet.save`."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    config = {"format": DETECTOR, "detector": detector.config.to_json(), "training": detector.training_record}
    return write_folder(Path(folder), config, weights, overwrite=overwrite)


def is_detector(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a detector, and not a classifier or nothing."""
    try:
        return read_config(Path(folder)).get("format") == DETECTOR
    except (UserError, OSError):
        return False


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
        detector = build_detector(config_from_json(record["detector"]))
    except (VariantError, UserError, TypeError) as error:
        raise UserError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    weights = read_weights(folder)
    complaint = mismatch(detector.state_dict(), weights)
    if complaint:
        raise UserError(f"{folder / WEIGHTS_NAME} does not fit what {CONFIG_NAME} describes: it {complaint}")
    detector.load_state_dict(weights)
    detector.training_record = record.get("training", {})
    return detector.eval()
