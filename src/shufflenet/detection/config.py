"""What makes one detector, as data: backbone, layout, sizes. Its JSON form is a detector folder's config.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from shufflenet.errors import UserError

Layout = Literal["paper", "fpn"]


@dataclass(frozen=True)
class Category:
    """A class of objects: its id in the annotations it was learned from, and its name."""

    id: int
    name: str


@dataclass(frozen=True)
class DetectorConfig:
    """One Faster R-CNN. Sizes are in pixels of the resized picture; the network's own classes are 1..k, and 0 is the background.

    `backbone` is the spec of an RGB network (`shufflenet.create(**backbone)`). `layout` is "paper", where stage 3's stride-16 map
    feeds the RPN and RoIAlign and stage 4 is the head of every region, as py-faster-rcnn does with ResNet's conv5; or "fpn", a
    feature pyramid on strides 8, 16, 32 and 64 with a head of two linear layers. Raises UserError for values that cannot be.
    """

    backbone: Mapping[str, Any]
    categories: tuple[Category, ...]
    layout: Layout = "paper"
    short_side: int = 600
    long_side: int = 1000
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    anchor_sizes: tuple[tuple[int, ...], ...] = ((64, 128, 256, 512),)  # one tuple a level
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pool_size: int = 14  # RoIAlign's output, before stage 4 halves it
    pyramid_channels: int = 0  # "fpn" only, as is head_channels
    head_channels: int = 0
    anchors_per_picture: int = 256  # sampled for the RPN's loss
    regions_per_picture: int = 128  # sampled for the head's loss
    proposals_train: int = 2000  # kept by the RPN's non-maximum suppression (and at most six times as many go into it)
    proposals_test: int = 300
    nms_threshold: float = 0.3  # of the final boxes, for each class
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
        if not 32 <= self.short_side <= self.long_side:
            raise UserError(
                f"short_side is {self.short_side} and long_side {self.long_side}; "
                "the short one must be at least 32 and at most the long one"
            )
        levels = 1 if self.layout == "paper" else 4
        if len(self.anchor_sizes) != levels or not all(self.anchor_sizes):
            raise UserError(
                f"anchor_sizes has {len(self.anchor_sizes)} levels; the {self.layout} layout needs {levels}, each with a size"
            )
        if len({len(sizes) for sizes in self.anchor_sizes}) != 1:
            raise UserError(f"anchor_sizes is {self.anchor_sizes}; every level needs the same number of sizes")

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's types; `from_json` gives back an equal config."""
        return {**asdict(self), "backbone": dict(self.backbone)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "DetectorConfig":
        """The reverse of `to_json`. Raises UserError for missing or unknown fields and impossible values."""
        known = {field.name for field in fields(DetectorConfig)}
        odd = sorted(known ^ set(record))
        if odd:
            raise UserError(f"its 'detector' has missing or unknown fields: {', '.join(odd)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        try:
            values["categories"] = tuple(Category(**category) for category in values["categories"])
            values["anchor_sizes"] = tuple(tuple(sizes) for sizes in values["anchor_sizes"])
        except TypeError as error:
            raise UserError(f"its 'detector' has a value of the wrong type ({error})") from error
        return DetectorConfig(**values)


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
) -> DetectorConfig:
    """A layout's usual numbers at a short side of `short_side`: py-faster-rcnn's for COCO, or torchvision's way for a pyramid.

    The long side is at most 5/3 of the short one, as py-faster-rcnn's 600 and 1000 are. `anchor_scale` multiplies the anchors, for
    data whose objects are smaller or larger than COCO's. `overrides` are fields of DetectorConfig. Raises UserError for those that
    are none, and as DetectorConfig does.
    """
    known = [field.name for field in fields(DetectorConfig)]
    for name in overrides:
        if name not in known:
            raise UserError(f"a detector has no field {name!r}; its fields are {', '.join(known)}")
    config = DetectorConfig(
        **{
            "backbone": backbone,
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
