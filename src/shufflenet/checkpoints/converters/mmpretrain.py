"""OpenMMLab's checkpoints: mmpretrain's shufflenet_v1, and mmclassification's before it (PyTorch, Apache-2.0).

The shuffle comes after the depthwise layer. Published: g = 3 at 1×; other scales are those of its `widen_factor`.
"""

import re
from typing import Any

from shufflenet.checkpoints.converters.implementation import Implementation, Width
from shufflenet.checkpoints.metadata import IMAGENET


def widths(width: Width) -> dict[str, Any]:
    """Table 1's widths times the scale, rounded to a multiple of 8 for any groups."""
    return {
        "stem_channels": int(24 * width.scale),
        "stage_channels": tuple(int(channels * width.scale + 4) // 8 * 8 for channels in width.table1_channels),
    }


def unit(stage: int, number: int) -> dict[str, str]:
    """Our layers in a unit → theirs."""
    prefix = f"backbone.layers.{stage - 2}.{number}"
    return {
        "compress.0": f"{prefix}.g_conv_1x1_compress.conv",
        "compress.1": f"{prefix}.g_conv_1x1_compress.bn",
        "depthwise.0": f"{prefix}.depthwise_conv3x3_bn.conv",
        "depthwise.1": f"{prefix}.depthwise_conv3x3_bn.bn",
        "expand.0": f"{prefix}.g_conv_1x1_expand.conv",
        "expand.1": f"{prefix}.g_conv_1x1_expand.bn",
    }


MMPRETRAIN = Implementation(
    name="mmpretrain",
    license="apache-2.0",
    preprocessing=IMAGENET,
    own_name=re.compile(r"shufflenet[-_]v1[-_]1x[-_\w]*"),
    own_width=lambda _: Width(1.0, 3),
    widths=widths,
    stem={"stem.0": "backbone.conv1.conv", "stem.1": "backbone.conv1.bn"},
    unit=unit,
    classifier="head.fc",
    shuffles_after_depthwise=True,
)
