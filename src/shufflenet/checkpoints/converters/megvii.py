"""Megvii's own checkpoints: github.com/megvii-model/ShuffleNet-Series, folder ShuffleNetV1 (PyTorch, MIT).

The input is BGR from 0 to 255 as it is; the shuffle comes after the depthwise layer and in the inverse order; there is no classifier
bias. Published: g = 3 and 8 at 0.5, 1, 1.5 and 2×.
"""

import re
from typing import Any

from shufflenet.checkpoints.converters.implementation import Implementation, Width
from shufflenet.checkpoints.metadata import Preprocessing
from shufflenet.errors import UserError

STEM_CHANNELS = {3: {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}, 8: {0.5: 16, 1.0: 24, 1.5: 24, 2.0: 48}}
FIRST_UNIT = {2: 0, 3: 4, 4: 12}  # units are numbered through the stages


def widths(width: Width) -> dict[str, Any]:
    """Table 1's widths times the scale, which the groups divide in all that exist."""
    stems = STEM_CHANNELS.get(width.groups, {})
    if width.scale not in stems:
        raise UserError(
            f"megvii has no ShuffleNet {width.scale:g}× with {width.groups} groups; there are 0.5, 1, 1.5 and 2×, with 3 and 8"
        )
    return {
        "stem_channels": stems[width.scale],
        "stage_channels": tuple(int(channels * width.scale) for channels in width.table1_channels),
    }


def unit(stage: int, number: int) -> dict[str, str]:
    """Our layers in a unit → theirs."""
    prefix = f"features.{FIRST_UNIT[stage] + number}"
    return {
        "compress.0": f"{prefix}.branch_main_1.0",
        "compress.1": f"{prefix}.branch_main_1.1",
        "depthwise.0": f"{prefix}.branch_main_1.3",
        "depthwise.1": f"{prefix}.branch_main_1.4",
        "expand.0": f"{prefix}.branch_main_2.0",
        "expand.1": f"{prefix}.branch_main_2.1",
    }


MEGVII = Implementation(
    name="megvii",
    license="mit",
    preprocessing=Preprocessing(mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255), channel_order="BGR"),
    own_name=re.compile(r"(ShuffleNetV1 )?(?P<scale>\d\.\d)x \(group=(?P<groups>\d)\)"),
    own_width=lambda match: Width(float(match["scale"]), int(match["groups"])),
    widths=widths,
    arithmetic={"shuffle_order": "inverse", "classifier_bias": False},
    stem={"stem.0": "first_conv.0", "stem.1": "first_conv.1"},
    unit=unit,
    classifier="classifier.0",
    shuffles_after_depthwise=True,
)
