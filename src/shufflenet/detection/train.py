"""Training a detector: the task, its recipes, and the run from annotations to a folder. The loop is `shufflenet.training.loop.fit`."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from shufflenet.data.transforms import Augmentation
from shufflenet.detection.coco import Annotations
from shufflenet.detection.cost import detector_cost
from shufflenet.detection.dataset import DetectionDataset, collate, label_of, learnable
from shufflenet.detection.detector import Detector
from shufflenet.detection.evaluate import DetectionScores, Result, detect, score
from shufflenet.detection.folder import save_detector
from shufflenet.errors import UserError
from shufflenet.training.loop import Observer, count_iterations, fit, make_accelerator
from shufflenet.training.observers import Terminal, Trackers
from shufflenet.training.recipe import Recipe, to_dict
from shufflenet.training.run_folder import open_run, run_record, write_json

FLIP_ONLY = Augmentation(area=(1.0, 1.0), aspect=(1.0, 1.0), flip=0.5, color_jitter=0.0, lighting=0.0)

# From a trained classifier, on COCO: 12 epochs at 0.02 for 16 pictures, the schedule that Detectron made customary, falling linearly
# as the paper's own does. py-faster-rcnn, which the paper used, took one picture at a time at 0.001.
FINETUNE = Recipe(
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
RECIPES: dict[str, Recipe] = {
    "finetune": FINETUNE,
    # Without a classifier to start from, BN has statistics of its own to find, and everything is to be learned.
    "scratch": replace(FINETUNE, freeze_batch_norm=False, sync_batch_norm=True, iterations=270_000),
}
# What a recipe may hold and a detector's training has not.
CLASSIFIERS_ONLY = (
    "mixup",
    "cutmix",
    "label_smoothing",
    "bn_reestimation_iterations",
    "small_network_augmentation",
    "max_broken_share",
)


def check_recipe(recipe: Recipe) -> None:
    """Raises UserError for a setting that a detector's training would pass over in silence."""
    for name in CLASSIFIERS_ONLY:
        if getattr(recipe, name) != getattr(FINETUNE, name):
            raise UserError(
                f"{name} is {getattr(recipe, name)!r}, which a detector's training does not know; leave it at {getattr(FINETUNE, name)!r}"
            )
    if replace(recipe.augmentation, flip=FLIP_ONLY.flip) != FLIP_ONLY:
        raise UserError(
            f"augmentation is {recipe.augmentation}; a detector's pictures are only flipped (augmentation.flip)"
        )


class Detection:
    """A detector that learns from annotations: the training loop's task."""

    best_figure = "average_precision"
    higher_is_better = True

    net: nn.Module
    collate: Callable[[list[Any]], Any] | None

    def __init__(self, detector: Detector, recipe: Recipe, training_set: Annotations, test_set: Annotations) -> None:
        self.net = detector
        self.collate = collate
        self.recipe = recipe
        self.inputs = DetectionDataset(
            training_set, detector.config.categories, flip=recipe.augmentation.flip, seed=recipe.seed
        )
        self.test_set = test_set
        self.scores: DetectionScores | None = None

    def loss(
        self, net: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Faster R-CNN's loss: the RPN's and the head's, each for classes and boxes, in equal parts."""
        pictures, targets = batch
        parts: Mapping[str, Tensor] = net(pictures, targets)
        figures = {name.removeprefix("loss_"): part.detach() for name, part in parts.items()}
        return sum(parts.values(), start=pictures[0].new_zeros(())), figures

    def evaluate(self, net: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        """COCO's figures on the test set, from 0 to 1; of the last evaluation `scores` keeps everything."""
        assert isinstance(net, Detector)
        rows: list[Result] = detect(net, self.test_set, workers=self.recipe.workers)
        self.scores = score(self.test_set, rows)
        figures = {
            "average_precision": self.scores.average_precision,
            "average_precision_50": self.scores.average_precision_50,
            "average_precision_75": self.scores.average_precision_75,
        }
        return {name: value or 0.0 for name, value in figures.items()}

    def save(self, net: nn.Module, folder: Path) -> None:
        assert isinstance(net, Detector)
        save_detector(net, folder, overwrite=True)


@dataclass(frozen=True)
class DetectorTraining:
    """What training ended with. `finished` is false if it was told to stop; then `scores` is None, and `resume=True` goes on."""

    detector: Detector
    folder: Path
    scores: DetectionScores | None
    record: dict[str, Any]
    finished: bool


def train_detector(
    detector: Detector,
    recipe: Recipe,
    training_set: Annotations,
    test_set: Annotations,
    folder: str | Path,
    *,
    dataset: str = "",
    resume: bool = False,
    trackers: tuple[str, ...] = ("tensorboard",),
    console: Console | None = None,
    observers: tuple[Observer, ...] = (),
    accelerator: Accelerator | None = None,
) -> DetectorTraining:
    """Train `detector` by the recipe into the run folder: what `load_detector` reads, result.json, checkpoints/, best/.

    `dataset` is the data's name for the record ("coco" for COCO: Table 7's rows are looked up by it). Pictures whose objects are
    all crowds or without an area are not trained on; those without any object are. `resume` goes on from the last checkpoint in
    the folder, or begins; `trackers` and `console` are as in `shufflenet.training.train`. Raises UserError for categories that
    the detector does not know, a recipe with settings for classifiers, a folder that holds another run, and whatever `fit` raises.
    """
    folder = Path(folder)
    check_recipe(recipe)
    training_set = learnable(training_set)
    label_of(test_set, detector.config.categories)
    if not any((~picture.crowd).any() for picture in test_set.pictures):
        raise UserError(f"{test_set.path} has no object to find; a test set needs some")
    accelerator = accelerator or make_accelerator(recipe, log_with=list(trackers) or None, project_dir=folder)
    iterations = count_iterations(recipe, len(training_set.pictures), accelerator.num_processes)
    settings = {"detector": detector.config.to_json(), **to_dict(recipe)}
    if accelerator.is_main_process:
        open_run(folder, detector, settings, recipe, resume=resume)
    accelerator.wait_for_everyone()
    task = Detection(detector, recipe, training_set, test_set)
    with ExitStack() as stack:
        watching = [*observers, stack.enter_context(Trackers(accelerator, folder, settings))]
        if console and accelerator.is_main_process:
            watching.append(stack.enter_context(Terminal(recipe, len(training_set.pictures), iterations, console)))
        result = fit(task, recipe, folder, accelerator, resume=resume, observers=tuple(watching))
    trained = result.net
    assert isinstance(trained, Detector)
    if result.finished and task.scores is None:  # resumed after the last iteration
        task.evaluate(trained, accelerator)
    record = {
        "dataset": dataset,
        "variant": detector.config.backbone["name"],
        "short_side": detector.config.short_side,
        **run_record(recipe, len(training_set.pictures), result, iterations, accelerator),
        **(asdict(task.scores) if task.scores else {}),
        "detector": detector.config.to_json(),
        "cost": asdict(detector_cost(trained)),
    }
    trained.training_record = {name: value for name, value in record.items() if name != "detector"}
    if result.finished and accelerator.is_main_process:
        save_detector(trained, folder, overwrite=True)
        write_json(folder / "result.json", record)
    accelerator.wait_for_everyone()
    return DetectorTraining(trained.eval(), folder, task.scores if result.finished else None, record, result.finished)
