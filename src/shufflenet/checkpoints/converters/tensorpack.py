"""tensorpack's checkpoints: github.com/tensorpack/tensorpack, examples/ImageNetModels (TensorFlow, Apache-2.0), as .npz files.

The shuffle is in the inverse order, before the depthwise layer; TensorFlow's "SAME" padding. Published: g = 8 at 0.5 and 1×.
"""

import re
from math import ceil
from typing import Any

from torch import Tensor

from shufflenet.checkpoints.converters.implementation import Implementation, Width
from shufflenet.checkpoints.metadata import Preprocessing

BATCH_NORM_TENSORS = {"weight": "gamma", "bias": "beta", "running_mean": "mean/EMA", "running_var": "variance/EMA"}


def widths(width: Width) -> dict[str, Any]:
    """Table 1's widths times the scale, rounded up to a multiple of 4·groups; the stem's to one of the groups."""
    unit = 4 * width.groups
    return {
        "stem_channels": ceil(24 * width.scale / width.groups) * width.groups,
        "stage_channels": tuple(ceil(channels * width.scale / unit) * unit for channels in width.table1_channels),
    }


def unit(stage: int, number: int) -> dict[str, str]:
    """Our layers in a unit → theirs."""
    prefix = f"stage{stage}/block{number}"
    return {
        "compress.0": f"{prefix}/conv1",
        "compress.1": f"{prefix}/conv1/bn",
        "depthwise.0": f"{prefix}/dconv",
        "depthwise.1": f"{prefix}/dconv_bn",
        "expand.0": f"{prefix}/conv2",
        "expand.1": f"{prefix}/conv2_bn",
    }


def key(layer: str, tensor: str) -> str:
    """W and b in convolutions and the classifier; gamma, beta and two running averages in batch normalization."""
    if layer.endswith("bn"):
        return f"{layer}/{BATCH_NORM_TENSORS.get(tensor, tensor)}"
    return f"{layer}/{'W' if tensor == 'weight' else 'b'}"


def value(key: str, tensor: Tensor) -> Tensor:
    """TensorFlow keeps [height, width, in, out], [height, width, channels, 1] if depthwise, and [in, out] if linear."""
    if key.endswith("dconv/W"):
        return tensor.permute(2, 3, 0, 1)
    if key.endswith("/W"):
        return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
    return tensor


TENSORPACK = Implementation(
    name="tensorpack",
    license="apache-2.0",
    preprocessing=Preprocessing(
        mean=(0.406, 0.456, 0.485), std=(0.225, 0.224, 0.229), channel_order="BGR", interpolation="bicubic"
    ),
    own_name=re.compile(r"ShuffleNetV1-(?P<scale>0\.5|1|1\.0)x-g(?P<groups>\d)"),
    own_width=lambda match: Width(float(match["scale"]), int(match["groups"])),
    widths=widths,
    arithmetic={"shuffle_order": "inverse", "padding": "same"},
    stem={"stem.0": "conv1", "stem.1": "conv1/bn"},
    unit=unit,
    classifier="linear",
    key=key,
    value=value,
)
