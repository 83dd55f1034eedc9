"""Every network of the paper as data, beside the numbers that the paper prints for it."""

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
from shufflenet.nets.shufflenet import ShuffleNet, ShuffleNetConfig, Stem
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
    """A network that the paper names: how to build it, and what is printed about it.

    `printed_multiply_adds` is in millions; `printed_error` is ImageNet's top-1 error in %; None where the paper prints nothing.
    `tolerance` is how far ours may be from the printed complexity, in millions; `note` says why where it is wide.
    """

    name: str
    config: Config
    printed_multiply_adds: float | None = None
    printed_error: float | None = None
    tables: tuple[int, ...] = ()
    tolerance: float = 1.0
    size: tuple[int, int] = (224, 224)
    note: str = ""


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


# Table 1 (1×) and the complexities in Tables 2, 5 and 8, in millions of multiply-adds.
TABLE1 = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}
TABLE2_COMPLEXITY = {"0_5": 38, "0_25": 13}
# Table 2 (and Table 5 for 1.5× and 2×): top-1 error, %.
ERRORS = {
    "1_0": {1: 33.6, 2: 32.7, 3: 32.6, 4: 32.8, 8: 32.4},
    "0_5": {1: 45.1, 2: 44.4, 3: 43.2, 4: 41.6, 8: 42.3},
    "0_25": {1: 57.1, 2: 56.8, 3: 55.0, 4: 54.2, 8: 52.7},
    "1_5": {3: 28.5},
    "2_0": {3: 26.3},
}
# Table 3: top-1 error without shuffle, %.
NOSHUFFLE_ERRORS = {"1_0": {3: 34.5, 8: 37.6}, "0_5": {3: 45.7, 8: 48.1}, "0_25": {3: 56.3, 8: 56.5}}


def _shufflenets() -> list[Variant]:
    variants = []
    for scale in SCALES:
        for groups in STAGE2_CHANNELS:
            complexity, tolerance, tables = None, 1.5, (2,)
            if scale == "1_0":
                complexity, tables = TABLE1[groups], (1, 2)
            elif scale in TABLE2_COMPLEXITY:
                complexity = TABLE2_COMPLEXITY[scale]
            elif groups == 3:
                complexity, tolerance, tables = {"1_5": 292, "2_0": 524}[scale], 1.0, (5,)
            else:
                tables = ()
            config = _config(scale, groups)
            name = f"shufflenet_x{scale}_g{groups}"
            variants.append(Variant(name, config, complexity, ERRORS[scale].get(groups), tables, tolerance))
            if groups in NOSHUFFLE_ERRORS.get(scale, {}):
                error = NOSHUFFLE_ERRORS[scale][groups]
                plain = replace(config, shuffle=False)
                variants.append(Variant(f"{name}_noshuffle", plain, complexity, error, (3,), tolerance))
            if groups == 3:
                printed = (527, 24.7, (5,)) if scale == "2_0" else (None, None, ())
                variants.append(Variant(f"{name}_se", replace(config, squeeze_reduction=16), *printed))
    return variants


def _shallow() -> Variant:
    """Table 5's 0.5× shallow: half of the units. At 0.5×'s own widths that is 22M, so the printed 40M needs a wider network.

    The authors' widths are unpublished; ours are 4/3 of 0.5×'s (160, 320, 640), rounded as in stage_widths, after a 24-channel stem.
    """
    config = ShuffleNetConfig(
        groups=3, stage_channels=stage_widths(0.5 * 4 / 3, 3), stem_channels=24, stage_repeats=(2, 4, 2)
    )
    return Variant("shufflenet_x0_5_g3_shallow", config, 40, 42.8, (5,))


# Table 4: unit → complexity → (stage-4 channels, stem channels, top-1 error in %).
TABLE4 = {
    "vgg": {140: (100, 24, 50.7), 38: (50, 12, None)},
    "resnet": {140: (384, 24, 37.3), 38: (192, 12, 48.8), 13: (96, 12, 63.7)},
    "resnext": {140: (384, 24, 33.3), 38: (192, 12, 46.0), 13: (96, 12, 65.2)},
}
# Xception-like is ShuffleNet with one group: the same errors stand in Tables 2 and 4.
XCEPTION = {140: ("1_0", 33.6), 38: ("0_5", 45.1), 13: ("0_25", 57.1)}


def _rivals() -> list[Variant]:
    variants = []
    for unit, rows in TABLE4.items():
        for complexity, (channels, stem_channels, error) in rows.items():
            config = RivalConfig(unit, (channels // 4, channels // 2, channels), stem_channels)
            name = f"{unit}_like_{complexity}m"
            variants.append(Variant(name, config, complexity, error, (4,), tolerance=0.04 * complexity))
    for complexity, (scale, error) in XCEPTION.items():
        name = f"xception_like_{complexity}m"
        variants.append(Variant(name, _config(scale, 1), complexity, error, (4,), tolerance=0.04 * complexity))
    return variants


# Tables 5 and 8: scale → (multiply-adds in millions, top-1 error in %).
MOBILENETS = {"1_0": (569, 29.4), "0_75": (325, 31.6), "0_5": (149, 36.3), "0_25": (41, 49.4)}


def _mobilenets() -> list[Variant]:
    return [
        Variant(f"mobilenet_x{scale}", MobileNetConfig(float(scale.replace("_", "."))), complexity, error, (5,))
        for scale, (complexity, error) in MOBILENETS.items()
    ]


def _references() -> list[Variant]:
    """Table 6's networks. Printed complexities are approximate there, so theirs are held to 2%, or explained."""
    return [
        Variant("alexnet", references.ALEXNET, 720, 42.8, (6, 8), tolerance=0.02 * 720),
        Variant("vgg16", references.VGG16, 15300, 28.5, (6,), tolerance=0.02 * 15300),
        Variant(
            "googlenet",
            references.GOOGLENET,
            1500,
            31.3,
            (6,),
            tolerance=0.02 * 1500,
            note="the paper's 1500M is BVLC's GoogLeNet, 1583M with 5×5 convolutions; torchvision's has 3×3 in their place",
        ),
        Variant("squeezenet", references.SQUEEZENET, 833, 42.5, (6,), tolerance=0.02 * 833, size=(227, 227)),
        Variant(
            "pvanet",
            PVANetConfig(),
            557,
            29.7,
            (),
            tolerance=60,
            note="557M stands in section 4.3's text without a classifier: with an average pool it is 515M, with PVANET's own two "
            "4096-wide layers 613M",
        ),
    ]


@cache
def variants() -> dict[str, Variant]:
    """Every network of the paper by name, in the paper's order."""
    everything = [*_shufflenets(), _shallow(), *_rivals(), *_mobilenets(), *_references()]
    return {variant.name: variant for variant in everything}


def create(
    name: str, *, num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet", **overrides: Any
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
