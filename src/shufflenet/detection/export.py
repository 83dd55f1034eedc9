"""A detector as ONNX: picture in, boxes, labels and scores out, non-maximum suppression and all."""

import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from shufflenet.detection.detector import Detector
from shufflenet.errors import UserError

OPSET = 17


class OnePicture(nn.Module):
    """A detector for ONNX: one picture [3, h, w] → boxes [d, 4], labels [d], scores [d]."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (output,) = self.detector([picture])
        return output["boxes"], output["labels"], output["scores"]


def export_onnx(detector: Detector, path: str | os.PathLike[str], *, size: tuple[int, int] = (480, 640)) -> Path:
    """Write `detector` for ONNX Runtime, through torchvision's export, and return the path.

    The input `picture` is RGB, float32 [3, h, w] from 0 to 1, of any size: the model resizes and normalizes it. The outputs are
    `boxes` (x1, y1, x2, y2 in its pixels), `labels` (an index into the config's categories, from 1 up) and `scores`. `size` is of the
    example that export traces. Raises UserError without the package onnx, or if the file is there.
    """
    path = Path(path)
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or remove it")
    example = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary, warnings.catch_warnings():
        # Tracing warns of every Python number; the test with other sizes shows that none of them was wrongly frozen.
        warnings.simplefilter("ignore")
        complete = Path(temporary) / path.name
        try:
            torch.onnx.export(
                OnePicture(detector).eval(),
                (example,),
                complete,
                dynamo=False,  # torchvision registers its operators with this exporter
                opset_version=OPSET,
                input_names=["picture"],
                output_names=["boxes", "labels", "scores"],
                dynamic_axes={
                    "picture": {1: "height", 2: "width"},
                    "boxes": {0: "detections"},
                    "labels": {0: "detections"},
                    "scores": {0: "detections"},
                },
            )
        except ModuleNotFoundError as error:
            raise UserError("the export needs onnx; pip install 'shufflenet[compile]'") from error
        os.replace(complete, path)
    return path
