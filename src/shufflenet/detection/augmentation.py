"""How training pictures and their boxes are varied, by torchvision's v2 transforms."""

from typing import Any

from torchvision.transforms import v2

from shufflenet.detection.config import DetectorConfig, OneStageConfig
from shufflenet.detection.recipe import DetectionRecipe


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
