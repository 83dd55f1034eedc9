"""Every network of the paper as data."""

import difflib
from dataclasses import dataclass, fields, replace
from functools import cache
from math import floor
from typing import Any

from shufflenet.nets import references
from shufflenet.nets.errors import VariantError
from shufflenet.nets.mobilenet import MobileNet, MobileNetConfig
from shufflenet.nets.network import Network
from shufflenet.nets.pvanet import PVANet, PVANetConfig
from shufflenet.nets.references import ReferenceConfig, ReferenceNet
from shufflenet.nets.shufflenet import ShuffleNet, ShuffleNetConfig, StemKind
from shufflenet.nets.units import RivalConfig, RivalNet

Config = ShuffleNetConfig | RivalConfig | MobileNetConfig | ReferenceConfig | PVANetConfig
NETWORKS: dict[type, type[Network]] = {
    ShuffleNetConfig: ShuffleNet,
    RivalConfig: RivalNet,
    MobileNetConfig: MobileNet,
    ReferenceConfig: ReferenceNet,
    PVANetConfig: PVANet,
}


@dataclass(frozen=True)
class Variant:
    """A network that the paper names, and how to build it. What the paper prints of it stands in `shufflenet.paper.published`.

    `size` is the height and width that its printed complexity is about.
    """

    name: str
    config: Config
    size: tuple[int, int] = (224, 224)


# Table 1: stage-2 channels by groups at 1×; stages 3 and 4 have two and four times as many.
STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
SCALES = {"0_25": 0.25, "0_5": 0.5, "1_0": 1.0, "1_5": 1.5, "2_0": 2.0}
STEM_CHANNELS = {"0_25": 12, "0_5": 12, "1_0": 24, "1_5": 24, "2_0": 48}


def stage_widths(scale: float, groups: int) -> tuple[int, int, int]:
    """Channels of stages 2, 3 and 4 at a scale: the rule for what the paper leaves open.

    Table 1 gives the widths at 1×, and "s×" scales them (section 4.1), but s times Table 1 is not always divisible: a quarter of
    the width must be a multiple of the groups. So each stage is rounded, on its own, to the nearest multiple of 4·groups. The stem
    has 24 channels at 1× and 1.5×, 48 at 2×, 12 below 1×: the only choice among 6, 12, 24, 36, 48 with which g = 3 gives the printed
    524, 292, 38 and 13M. At g = 8 below 1× it has 8, since 12 is not a multiple of 8 and 16 would miss the printed figures.
    """
    unit = 4 * groups
    stage2, stage3, stage4 = (
        floor(STAGE2_CHANNELS[groups] * scale * factor / unit + 0.5) * unit for factor in (1, 2, 4)
    )
    return stage2, stage3, stage4


def _config(scale_name: str, groups: int) -> ShuffleNetConfig:
    return ShuffleNetConfig(
        groups=groups,
        stage_channels=stage_widths(SCALES[scale_name], groups),
        stem_channels=STEM_CHANNELS[scale_name] // groups * groups,
    )


# Table 3 compares these with shuffle and without.
SHUFFLE_COMPARED = {("1_0", 3), ("1_0", 8), ("0_5", 3), ("0_5", 8), ("0_25", 3), ("0_25", 8)}


def _shufflenets() -> list[Variant]:
    variants = []
    for scale in SCALES:
        for groups in STAGE2_CHANNELS:
            config = _config(scale, groups)
            name = f"shufflenet_x{scale}_g{groups}"
            variants.append(Variant(name, config))
            if (scale, groups) in SHUFFLE_COMPARED:
                variants.append(Variant(f"{name}_noshuffle", replace(config, shuffle=False)))
            if groups == 3:
                variants.append(Variant(f"{name}_se", replace(config, squeeze_reduction=16)))
    return variants


def _shallow() -> Variant:
    """Table 5's 0.5× shallow: half of the units. At 0.5×'s own widths that is 22M, so the printed 40M needs a wider network.

    The authors' widths are unpublished; ours are 4/3 of 0.5×'s (160, 320, 640), rounded as in stage_widths, after a 24-channel stem.
    """
    config = ShuffleNetConfig(
        groups=3, stage_channels=stage_widths(0.5 * 4 / 3, 3), stem_channels=24, stage_repeats=(2, 4, 2)
    )
    return Variant("shufflenet_x0_5_g3_shallow", config)


# Table 4: unit → complexity in millions → (stage-4 channels, stem channels).
RIVALS = {
    "vgg": {140: (100, 24), 38: (50, 12)},
    "resnet": {140: (384, 24), 38: (192, 12), 13: (96, 12)},
    "resnext": {140: (384, 24), 38: (192, 12), 13: (96, 12)},
}
# Xception-like is ShuffleNet with one group.
XCEPTION = {140: "1_0", 38: "0_5", 13: "0_25"}


def _rivals() -> list[Variant]:
    rivals = [
        Variant(
            f"{unit}_like_{complexity}m", RivalConfig(unit, (channels // 4, channels // 2, channels), stem_channels)
        )
        for unit, widths in RIVALS.items()
        for complexity, (channels, stem_channels) in widths.items()
    ]
    xceptions = [Variant(f"xception_like_{complexity}m", _config(scale, 1)) for complexity, scale in XCEPTION.items()]
    return [*rivals, *xceptions]


def _mobilenets() -> list[Variant]:
    scales = ("1_0", "0_75", "0_5", "0_25")
    return [Variant(f"mobilenet_x{scale}", MobileNetConfig(float(scale.replace("_", ".")))) for scale in scales]


def _references() -> list[Variant]:
    """Table 6's networks, and PVANET of section 4.3's text."""
    return [
        Variant("alexnet", references.ALEXNET),
        Variant("vgg16", references.VGG16),
        Variant("googlenet", references.GOOGLENET),
        Variant("squeezenet", references.SQUEEZENET, size=(227, 227)),
        Variant("pvanet", PVANetConfig()),
    ]


@cache
def variants() -> dict[str, Variant]:
    """Every network of the paper by name, in the paper's order."""
    everything = [*_shufflenets(), _shallow(), *_rivals(), *_mobilenets(), *_references()]
    return {variant.name: variant for variant in everything}


def create(
    name: str, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet", **overrides: Any
) -> Network:
    """A new network with random weights: [n, in_channels, h, w] → logits [n, num_classes].

    `overrides` replace fields of the variant's config (for instance `stem_channels=6`, `shuffle_order="inverse"`). The network's
    `spec` is a JSON-ready dict: `create(**net.spec)` builds the same architecture. Raises VariantError for an unknown name, field or
    value.
    """
    known = variants()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`shufflenet list` shows all."
        raise VariantError(f"there is no variant {name!r}; {hint}")
    if num_classes < 1 or in_channels < 1:
        raise VariantError(f"num_classes is {num_classes} and in_channels {in_channels}; each must be at least 1")
    if stem not in ("imagenet", "small"):
        raise VariantError(
            f"stem is {stem!r}; it is 'imagenet' (stride 4) or 'small' (stride 1, for pictures of 28–64 pixels)"
        )
    config = known[name].config
    field_names = [field.name for field in fields(config)]
    for key in overrides:
        if key not in field_names:
            raise VariantError(f"{name} has no field {key!r}; its fields are {', '.join(field_names)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in overrides.items()}
    net = NETWORKS[type(config)](replace(config, **values), num_classes=num_classes, in_channels=in_channels, stem=stem)
    net.spec = {"name": name, "num_classes": num_classes, "in_channels": in_channels, "stem": stem, **overrides}
    return net
