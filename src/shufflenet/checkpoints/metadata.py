"""What a checkpoint knows besides its weights: how a picture becomes the network's input, the classes, how it was trained."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

import msgspec

from shufflenet.errors import UserError
from shufflenet.nets import VariantError, height_width

ChannelOrder = Literal["RGB", "BGR", "grey", "other"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
PICTURE_CHANNELS = {"RGB": 3, "BGR": 3, "grey": 1}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input; the defaults are ImageNet's, as the paper evaluates (section 4).

    The picture is resized so that its shorter side is `short_side` pixels and its centre is cropped to `size`: (height, width), or
    one number for a square. With `short_side=None` it is resized straight to `size`. Then (value - mean) / std for each channel,
    with values from 0 to 1, in the network's `channel_order`. "other" stands for inputs that no picture file holds (depth, more
    than three bands), whose order is the caller's own. Raises UserError for values that cannot be.
    """

    size: tuple[int, int] = (224, 224)
    short_side: int | None = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channel_order: ChannelOrder = "RGB"
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "size", height_width(self.size))
        except VariantError as error:
            raise UserError(f"preprocessing size: {error}") from error
        if self.short_side is not None and self.short_side < max(self.size):
            raise UserError(
                f"preprocessing short_side is {self.short_side}, too small to crop {self.size[0]}×{self.size[1]} from; "
                f"choose at least {max(self.size)}, or None to resize straight to that size"
            )
        if self.channel_order not in get_args(ChannelOrder):
            raise UserError(
                f"channel_order is {self.channel_order!r}; it is one of {', '.join(get_args(ChannelOrder))}"
            )
        if self.interpolation not in get_args(Interpolation):
            raise UserError(
                f"interpolation is {self.interpolation!r}; it is one of {', '.join(get_args(Interpolation))}"
            )
        channels = PICTURE_CHANNELS.get(self.channel_order, len(self.mean))
        if len(self.mean) != channels or len(self.std) != channels:
            raise UserError(
                f"preprocessing has {len(self.mean)} means and {len(self.std)} deviations; "
                f"a {self.channel_order} input has {channels} channels"
            )
        if min(self.std, default=0) <= 0:
            raise UserError(f"preprocessing std is {self.std}; every deviation must be above 0")

    @property
    def channels(self) -> int:
        """How many channels the network gets."""
        return len(self.mean)


IMAGENET = Preprocessing()
# ImageNet's figures, averaged over the colours.
GREY = Preprocessing(mean=(0.449,), std=(0.226,), channel_order="grey")


def describe(preprocessing: Preprocessing) -> str:
    """Preprocessing in a line for people."""
    height, width = preprocessing.size
    if preprocessing.short_side is None:
        resize = f"resize to {height}×{width}"
    else:
        resize = f"resize the short side to {preprocessing.short_side}, crop the centre {height}×{width}"
    mean = ", ".join(f"{value:.4g}" for value in preprocessing.mean)
    std = ", ".join(f"{value:.4g}" for value in preprocessing.std)
    return f"{preprocessing.channel_order}; {resize} ({preprocessing.interpolation}); values 0–1, minus {mean}, divided by {std}"


def usual_preprocessing(in_channels: int) -> Preprocessing:
    """For a network whose own is not known: ImageNet's, as far as its channels allow."""
    if in_channels in (1, 3):
        return IMAGENET if in_channels == 3 else GREY
    return replace(IMAGENET, channel_order="other", mean=(0.0,) * in_channels, std=(1.0,) * in_channels)


@dataclass(frozen=True)
class Metadata:
    """What a network's checkpoint says of it, beside the architecture.

    `classes` are the names of the logits in order, empty where nobody knows them. `training` is a JSON-ready record of how the
    weights came about; the model card reads its keys `top1_error` and `top5_error` (in %), `dataset`, `source` and `license` where
    they are there.
    """

    preprocessing: Preprocessing = IMAGENET
    classes: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's types: `Metadata.from_json` gives back an equal Metadata."""
        preprocessing = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.preprocessing).items()
        }
        return {"preprocessing": preprocessing, "classes": list(self.classes), "training": self.training}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Metadata":
        """The reverse of `to_json`. Raises UserError for what is missing, unknown or impossible."""
        given = {name: record[name] for name in ("preprocessing", "classes", "training") if name in record}
        if not isinstance(given.get("preprocessing"), Mapping):
            raise UserError("it has no 'preprocessing' object")
        known = {field.name for field in fields(Preprocessing)}
        if odd := sorted(known ^ given["preprocessing"].keys()):
            raise UserError(f"its 'preprocessing' has missing or unknown fields: {', '.join(odd)}")
        try:
            return msgspec.convert(given, Metadata)
        except msgspec.ValidationError as error:
            raise UserError(f"it has a wrong value: {error}") from error
