"""How training pictures and their boxes are varied, by torchvision's v2 transforms."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from shufflenet.detection.config import DetectorConfig, OneStageConfig
from shufflenet.detection.recipe import DetectionRecipe

LEAST_QUARTER = 0.25  # of a mosaic's sides
LEAST_PART = 0.3  # of an object's area, for what is left of it to be one


def mosaic(items: Sequence[tuple[Tensor, dict[str, Any]]]) -> tuple[Tensor, dict[str, Any]]:
    """Four uint8 pictures [3, h, w] and their targets → one as large as the first, of a piece of each (arXiv 2004.10934, section 3.4).

    The pieces meet at a point that is drawn, by torch's generator. So are how far each picture is shrunk, at most until it just fills
    its piece, and where it is cut. Boxes are cut with it; those that keep less than 30% of their area, or no
    pixel's width or height, are dropped.
    """
    height, width = items[0][0].shape[-2:]
    down, across = (_between(LEAST_QUARTER * side, (1 - LEAST_QUARTER) * side) for side in (height, width))
    canvas = items[0][0].new_empty(3, height, width)
    boxes, labels = [], []
    corners = ((0, 0), (0, across), (down, 0), (down, across))
    for (picture, target), (top, left) in zip(items, corners, strict=True):
        rows, columns = (height - down if top else down), (width - across if left else across)
        piece, kept, named = _piece(picture, target, (height, width), (rows, columns))
        canvas[:, top : top + rows, left : left + columns] = piece
        boxes.append(kept + kept.new_tensor([left, top, left, top]))
        labels.append(named)
    return tv_tensors.Image(canvas), {
        "boxes": bounding_boxes(torch.cat(boxes), (height, width)),
        "labels": torch.cat(labels),
    }


def _piece(
    picture: Tensor, target: dict[str, Any], canvas: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """A cut of `size` from a picture that is shrunk to a drawn share of `canvas`; the boxes and labels that are left in it."""
    share = max(own / whole for own, whole in zip(size, canvas, strict=True))
    share += (1 - share) * float(torch.rand(()))
    scaled = [max(own, round(share * whole)) for own, whole in zip(size, canvas, strict=True)]
    top, left = (_between(0, whole - own) for whole, own in zip(scaled, size, strict=True))
    shrunk = v2.functional.resize(picture, scaled, antialias=False)
    scale = [new / old for new, old in zip(scaled, picture.shape[-2:], strict=True)]
    boxes = target["boxes"].as_subclass(Tensor)
    boxes = boxes * boxes.new_tensor([scale[1], scale[0]] * 2) - boxes.new_tensor([left, top, left, top])
    limits = boxes.new_tensor([size[1], size[0]] * 2)
    cut = boxes.clamp(min=boxes.new_zeros(4), max=limits)
    kept = (_areas(cut) >= LEAST_PART * _areas(boxes)) & (cut[:, 2:] - cut[:, :2] >= 1).all(1)
    piece = shrunk.as_subclass(Tensor)[:, top : top + size[0], left : left + size[1]]
    return piece, cut[kept], target["labels"][kept]


def _between(first: float, last: float) -> int:
    """A whole number, drawn."""
    return round(first + (last - first) * float(torch.rand(())))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def bounding_boxes(corners: Tensor, size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    """Boxes [k, 4] (x1, y1, x2, y2) in a picture of `size` (height, width), for torchvision's transforms."""
    return tv_tensors.BoundingBoxes(corners, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size)  # pyright: ignore[reportCallIssue]


class _Crop(v2.RandomIoUCrop):
    """SSD's crop, which needs a box to keep: a picture of background stays as it is."""

    def forward(self, *inputs: Any) -> Any:
        return super().forward(*inputs) if len(inputs[1]["boxes"]) else inputs


class _IntoCorner(v2.Transform):
    """Resize as a one-stage detector does, so that the detector itself has nothing left to resize."""

    def __init__(self, config: OneStageConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, *inputs: Any) -> Any:
        picture, target = inputs
        size = list(self.config.size)
        if self.config.letterbox:
            height, width = picture.shape[-2:]
            size = [max(1, min(side * size[0] // height, side * size[1] // width)) for side in (height, width)]
        # Without smoothing, since the detector does without when it is used.
        return v2.Resize(size, antialias=False)(picture, target)


def training_transform(recipe: DetectionRecipe, config: DetectorConfig) -> v2.Transform:
    """A uint8 picture and its target → the same, varied as the recipe says, resized where the detector has one size."""
    steps: list[Any] = []
    if recipe.zoom_out > 1:
        fill = [round(255 * mean) for mean in config.mean]
        steps.append(v2.RandomZoomOut(fill=fill, side_range=(1.0, recipe.zoom_out)))
    if recipe.iou_crop:
        steps.append(v2.RandomApply([_Crop(), v2.SanitizeBoundingBoxes()], p=recipe.iou_crop))
    steps.append(v2.RandomHorizontalFlip(recipe.augmentation.flip))
    steps.append(v2.RandomVerticalFlip(recipe.flip_vertical))
    if isinstance(config, OneStageConfig):
        steps += [_IntoCorner(config), v2.SanitizeBoundingBoxes()]
    # Last, when most pictures are at their smallest.
    if recipe.photometric:
        steps.append(v2.RandomPhotometricDistort(p=recipe.photometric))
    return v2.Compose(steps)
