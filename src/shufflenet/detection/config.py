"""What makes one detector, as data: backbone, layout, sizes. Its JSON form is in a detector folder's config.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import msgspec

from shufflenet.errors import UserError

Layout = Literal["paper", "fpn", "ssdlite"]
STRIDES = (8, 16, 32, 64, 128)
SMALLEST_PICTURE = 32


@dataclass(frozen=True)
class Category:
    """A class of objects: its id in the annotations it was learned from, and its name."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What detectors of all layouts have. The network's own classes are 1..k, and 0 is the background.

    `backbone` is the spec of an RGB network (`shufflenet.create(**backbone)`). Boxes of one class that overlap by more than
    `nms_threshold` (intersection over union) are one object. Raises UserError for values that cannot be.
    """

    backbone: dict[str, Any]
    categories: tuple[Category, ...]
    layout: Layout
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    nms_threshold: float = 0.5
    score_threshold: float = 0.05
    detections_per_picture: int = 100

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise UserError(f"layout is {self.layout!r}; it is one of {', '.join(get_args(Layout))}")
        if not self.categories:
            raise UserError("a detector needs at least one category; the annotations name none")
        names = [category.name for category in self.categories]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"two categories are named {twice!r}; a detector tells them apart by name, so rename one")
        for name in ("nms_threshold", "score_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name):g}; it is between 0 and 1")
        if self.detections_per_picture < 1:
            raise UserError(f"detections_per_picture is {self.detections_per_picture}; it is at least 1")

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's types; `config_from_json` gives back an equal config."""
        return msgspec.to_builtins(asdict(self))


@dataclass(frozen=True, kw_only=True)
class TwoStageConfig(DetectorConfig):
    """One Faster R-CNN. Sizes are in pixels of the resized picture.

    `layout` is "paper", where stage 3's stride-16 map feeds the RPN and RoIAlign and stage 4 is the head of every region, as
    py-faster-rcnn does with ResNet's conv5; or "fpn", a feature pyramid on strides 8, 16, 32 and 64 with a head of two linear layers.
    """

    layout: Layout = "paper"
    short_side: int = 600
    long_side: int = 1000
    anchor_sizes: tuple[tuple[int, ...], ...] = ((64, 128, 256, 512),)  # one tuple a level
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pool_size: int = 14  # RoIAlign's output, before stage 4 halves it
    pyramid_channels: int = 0  # "fpn" only, as is head_channels
    head_channels: int = 0
    anchors_per_picture: int = 256  # sampled for the RPN's loss
    regions_per_picture: int = 128  # sampled for the head's loss
    proposals_train: int = 2000  # kept by the RPN's non-maximum suppression (and at most six times as many go into it)
    proposals_test: int = 300
    nms_threshold: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout not in ("paper", "fpn"):
            raise UserError(f"layout is {self.layout!r}; a detector of two stages has paper or fpn")
        if not SMALLEST_PICTURE <= self.short_side <= self.long_side:
            raise UserError(
                f"short_side is {self.short_side} and long_side {self.long_side}; "
                f"the short one must be at least {SMALLEST_PICTURE} and at most the long one"
            )
        levels = 1 if self.layout == "paper" else 4
        if len(self.anchor_sizes) != levels or not all(self.anchor_sizes):
            raise UserError(
                f"anchor_sizes has {len(self.anchor_sizes)} levels; the {self.layout} layout needs {levels}, each with a size"
            )
        if len({len(sizes) for sizes in self.anchor_sizes}) != 1:
            raise UserError(f"anchor_sizes is {self.anchor_sizes}; every level needs the same number of sizes")


@dataclass(frozen=True, kw_only=True)
class OneStageConfig(DetectorConfig):
    """One SSD (arXiv 1512.02325) with SSDLite's depthwise separable predictions (arXiv 1801.04381, section 6.2).

    A picture is resized to `size` (height, width), or with `letterbox` into its top left corner, so that shapes are kept; what is
    missing to whole multiples of 32 is filled with the mean colour. `strides` are of the maps that predict, finest first, and
    `anchors` has for each of them (width, height) pairs, in pixels of the resized picture.
    """

    layout: Layout = "ssdlite"
    size: tuple[int, int] = (320, 320)
    letterbox: bool = False
    strides: tuple[int, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    neck_channels: int
    match_threshold: float = 0.5  # an anchor learns an object that it overlaps by so much
    negatives_per_object: float = 3.0  # anchors of the background in the loss, the worst ones
    candidates_per_class: int = 200  # at most so many boxes of a class go into non-maximum suppression

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout != "ssdlite":
            raise UserError(f"layout is {self.layout!r}; a detector of one stage has ssdlite")
        if min(self.size) < SMALLEST_PICTURE:
            raise UserError(f"size is {self.size[0]}×{self.size[1]}; each side is at least {SMALLEST_PICTURE} pixels")
        if not self.strides or list(self.strides) != sorted(set(self.strides) & set(STRIDES)):
            raise UserError(f"strides is {self.strides}; they are some of {', '.join(map(str, STRIDES))}, finest first")
        if len(self.anchors) != len(self.strides) or not all(self.anchors):
            raise UserError(
                f"anchors has {len(self.anchors)} levels; it needs one for each of the {len(self.strides)} strides, each with a box"
            )
        if min(side for level in self.anchors for box in level for side in box) <= 0:
            raise UserError(f"anchors is {self.anchors}; every width and height is above 0")
        for name in ("neck_channels", "candidates_per_class"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it is at least 1")

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        height, width = (-(-side // 32) * 32 for side in self.size)
        return height, width

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level's map."""
        height, width = self.padded_size
        return tuple((-(-height // stride), -(-width // stride)) for stride in self.strides)


CONFIGS: dict[str, type[DetectorConfig]] = {"paper": TwoStageConfig, "fpn": TwoStageConfig, "ssdlite": OneStageConfig}


def config_class(layout: str) -> type[DetectorConfig]:
    """The config that a layout has. Raises UserError for a layout that there is not."""
    if layout not in CONFIGS:
        raise UserError(f"layout is {layout!r}; it is one of {', '.join(CONFIGS)}")
    return CONFIGS[layout]


def config_from_json(record: Mapping[str, Any]) -> DetectorConfig:
    """The reverse of `DetectorConfig.to_json`. Raises UserError for missing or unknown fields and impossible values."""
    kind = config_class(record.get("layout", ""))
    odd = sorted({field.name for field in fields(kind)} ^ set(record))
    if odd:
        raise UserError(f"its 'detector' has missing or unknown fields: {', '.join(odd)}")
    try:
        return msgspec.convert(dict(record), kind)
    except msgspec.ValidationError as error:
        raise UserError(f"its 'detector' has a wrong value: {error}") from error


PYRAMID_DEFAULTS: dict[str, Any] = {
    "anchor_sizes": ((32, 45), (64, 90), (128, 181), (256, 362)),  # two an octave, from four strides up
    "pool_size": 7,
    "pyramid_channels": 128,
    "head_channels": 512,
    "proposals_test": 1000,
    "nms_threshold": 0.5,
}


def detector_config(
    backbone: Mapping[str, Any],
    categories: tuple[Category, ...],
    *,
    layout: Layout = "paper",
    short_side: int = 600,
    anchor_scale: float = 1.0,
    **overrides: Any,
) -> TwoStageConfig:
    """A Faster R-CNN's usual numbers at a short side of `short_side`: py-faster-rcnn's for COCO, or torchvision's for a pyramid.

    The long side is at most 5/3 of the short one, as py-faster-rcnn's 600 and 1000 are. `anchor_scale` multiplies the anchors, for
    data whose objects are smaller or larger than COCO's. `overrides` are fields of TwoStageConfig. Raises UserError for those that
    are none, and as TwoStageConfig does.
    """
    check_fields(TwoStageConfig, overrides)
    config = TwoStageConfig(
        **{
            "backbone": dict(backbone),
            "categories": categories,
            "layout": layout,
            "short_side": short_side,
            "long_side": max(short_side, round(short_side * 5 / 3)),
            **(PYRAMID_DEFAULTS if layout == "fpn" else {}),
            **overrides,
        }
    )
    if anchor_scale <= 0:
        raise UserError(f"anchor_scale is {anchor_scale:g}; it must be above 0")
    sizes = tuple(tuple(max(1, round(size * anchor_scale)) for size in level) for level in config.anchor_sizes)
    return replace(config, anchor_sizes=sizes)


def check_fields(kind: type[DetectorConfig], values: Mapping[str, Any]) -> None:
    """Raises UserError for a name in `values` that is no field of a config of this kind."""
    known = [field.name for field in fields(kind)]
    for name in values:
        if name not in known:
            raise UserError(f"a detector has no field {name!r}; its fields are {', '.join(known)}")
