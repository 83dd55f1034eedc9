"""pytorchcv's checkpoints: github.com/osmr/imgclsmob (PyTorch, MIT), eleven ShuffleNets trained on ImageNet.

A stride-2 unit concatenates [branch, average pool]; the stem and the stages are scaled without rounding.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

from shufflenet.checkpoints.converters.implementation import Implementation, Width
from shufflenet.checkpoints.metadata import IMAGENET
from shufflenet.errors import UserError

SCALES = {"1": 1.0, "3d4": 0.75, "d2": 0.5, "d4": 0.25}


def widths(width: Width) -> dict[str, Any]:
    """Table 1's widths times the scale."""
    return {
        "stem_channels": int(24 * width.scale),
        "stage_channels": tuple(int(channels * width.scale) for channels in width.table1_channels),
    }


def unit(stage: int, number: int) -> dict[str, str]:
    """Our layers in a unit → theirs."""
    prefix = f"features.stage{stage - 1}.unit{number + 1}"
    return {
        "compress.0": f"{prefix}.compress_conv1",
        "compress.1": f"{prefix}.compress_bn1",
        "depthwise.0": f"{prefix}.dw_conv2",
        "depthwise.1": f"{prefix}.dw_bn2",
        "expand.0": f"{prefix}.expand_conv3",
        "expand.1": f"{prefix}.expand_bn3",
    }


PYTORCHCV = Implementation(
    name="pytorchcv",
    license="mit",
    preprocessing=IMAGENET,
    own_name=re.compile(r"shufflenet_g(?P<groups>\d)_w(?P<scale>1|3d4|d2|d4)"),
    own_width=lambda match: Width(SCALES[match["scale"]], int(match["groups"])),
    widths=widths,
    arithmetic={"shortcut_first": False},
    stem={"stem.0": "features.init_block.conv", "stem.1": "features.init_block.bn"},
    unit=unit,
    classifier="output",
)


def fetch(name: str) -> tuple[Path, float]:
    """pytorchcv's ImageNet weights of its model `name`: the file, downloaded and sha1-checked by pytorchcv, and its top-5 error in %.

    Raises UserError where pytorchcv is not installed, has no such weights or cannot reach them.
    """
    PYTORCHCV.width(name)
    try:
        from pytorchcv.models.common.model_store import get_model_file, get_model_metainfo
    except ImportError as error:
        raise UserError("pytorchcv is not installed; pip install 'shufflenet[convert]'") from error
    try:
        top5_error = int(get_model_metainfo(name)[1]) / 100
        return Path(get_model_file(name)), top5_error
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"pytorchcv's weights of {name} cannot be had ({type(error).__name__}); is there a network?"
        ) from error
