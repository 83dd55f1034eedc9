"""A detector's recipe: the training loop's, and how pictures with boxes are varied. The named ones of each layout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shufflenet.data.transforms import Augmentation
from shufflenet.detection.config import Layout
from shufflenet.errors import UserError
from shufflenet.training.recipe import Recipe

FLIP_ONLY = Augmentation(area=(1.0, 1.0), aspect=(1.0, 1.0), flip=0.5, color_jitter=0.0, lighting=0.0)


@dataclass(frozen=True)
class DetectionRecipe(Recipe):
    """A Recipe, and SSD's augmentation (arXiv 1512.02325, section 2.2): all of it off by default.

    - photometric: the probability of each change of colour (brightness, contrast, saturation, hue, order of channels).
    - zoom_out: half of the pictures are laid on a larger canvas of the mean colour, of at most so many times their sides.
    - iou_crop: the probability of a random crop, which keeps a drawn share of some object.
    - flip_vertical: the probability of turning a picture upside down, for pictures from above or through a microscope.
    """

    photometric: float = 0.0
    zoom_out: float = 1.0
    iou_crop: float = 0.0
    flip_vertical: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("photometric", "iou_crop", "flip_vertical"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it is a probability")
        if self.zoom_out < 1:
            raise UserError(f"zoom_out is {self.zoom_out}; it is 1 (off) or more")


# From a trained classifier, on COCO: 12 epochs at 0.02 for 16 pictures, the schedule that Detectron made customary, falling linearly
# as the paper's own does. py-faster-rcnn, which the paper used, took one picture at a time at 0.001.
FINETUNE = DetectionRecipe(
    iterations=90_000,
    batch_size=16,
    learning_rate=0.02,
    learning_rate_batch_size=16,
    warmup_iterations=500,
    weight_decay=1e-4,
    gradient_clip=10.0,
    augmentation=FLIP_ONLY,
    freeze_batch_norm=True,
    channels_last=False,
    max_broken_share=0.0,
    checkpoint_iterations=2000,
)
RECIPES: dict[str, DetectionRecipe] = {
    "finetune": FINETUNE,
    # Without a classifier to start from, BN has statistics of its own to find, and everything is to be learned.
    "scratch": replace(FINETUNE, freeze_batch_norm=False, sync_batch_norm=True, iterations=270_000),
}
# One stage: SSD's augmentation, and steps enough for every anchor to have seen its objects.
SSD_SCRATCH = DetectionRecipe(
    iterations=None,
    epochs=200,
    batch_size=16,
    learning_rate=0.03,
    learning_rate_batch_size=16,
    schedule="cosine",
    warmup_iterations=300,
    weight_decay=4e-5,
    gradient_clip=5.0,
    ema_decay=0.998,
    augmentation=FLIP_ONLY,
    photometric=0.5,
    zoom_out=2.0,
    iou_crop=0.8,
    max_broken_share=0.0,
    evaluate_epochs=20,
    checkpoint_iterations=200,
)
SSD_RECIPES: dict[str, DetectionRecipe] = {
    "finetune": replace(SSD_SCRATCH, epochs=100, learning_rate=0.015),
    "scratch": SSD_SCRATCH,
}


def recipes_for(layout: Layout) -> Mapping[str, DetectionRecipe]:
    """The named recipes of a layout."""
    return SSD_RECIPES if layout == "ssdlite" else RECIPES


# What a recipe may hold and a detector's training has not.
CLASSIFIERS_ONLY = (
    "mixup",
    "cutmix",
    "label_smoothing",
    "bn_reestimation_iterations",
    "small_network_augmentation",
    "max_broken_share",
)


def check_recipe(recipe: DetectionRecipe) -> None:
    """Raises UserError for a setting that a detector's training would pass over in silence."""
    for name in CLASSIFIERS_ONLY:
        if getattr(recipe, name) != getattr(FINETUNE, name):
            raise UserError(
                f"{name} is {getattr(recipe, name)!r}, which a detector's training does not know; leave it at {getattr(FINETUNE, name)!r}"
            )
    if replace(recipe.augmentation, flip=FLIP_ONLY.flip) != FLIP_ONLY:
        raise UserError(
            f"augmentation is {recipe.augmentation}; a detector's pictures are varied by augmentation.flip, "
            "photometric, zoom_out, iou_crop and flip_vertical"
        )
