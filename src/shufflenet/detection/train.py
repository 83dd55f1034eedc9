"""Training a detector: the task, its recipes, and the run from annotations to a folder. The loop is `shufflenet.training.loop.fit`."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from shufflenet.detection.augmentation import training_transform
from shufflenet.detection.coco import Annotations
from shufflenet.detection.config import DetectorConfig, OneStageConfig, TwoStageConfig
from shufflenet.detection.cost import detector_cost
from shufflenet.detection.dataset import DetectionDataset, collate, label_of, learnable
from shufflenet.detection.detector import Detector
from shufflenet.detection.evaluate import CocoDetection, DetectionScores, detect, score
from shufflenet.detection.folder import save_detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.recipe import DetectionRecipe, check_recipe
from shufflenet.detection.two_stage import TwoStageDetector
from shufflenet.errors import UserError
from shufflenet.training.loop import Observer, count_iterations, fit, make_accelerator
from shufflenet.training.observers import Terminal, Trackers
from shufflenet.training.recipe import to_dict
from shufflenet.training.run_folder import open_run, run_record, write_json


class DetectionTask:
    """A detector that learns from annotations: the training loop's task."""

    best_figure = "average_precision"
    higher_is_better = True

    net: nn.Module
    collate: Callable[[list[Any]], Any] | None

    def __init__(
        self, detector: Detector, recipe: DetectionRecipe, training_set: Annotations, test_set: Annotations
    ) -> None:
        self.net = detector
        self.collate = collate
        self.recipe = recipe
        self.inputs = DetectionDataset(
            training_set,
            detector.config.categories,
            transform=training_transform(recipe, detector.config),
            seed=recipe.seed,
        )
        self.test_set = test_set
        self.scores: DetectionScores | None = None

    def draw(self, batch: Any) -> Any:
        """The batch as it is: its pictures were changed at random when they were read."""
        return batch

    def loss(
        self, net: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The detector's losses for classes and for boxes, of each of its stages, in equal parts."""
        pictures, targets = batch
        parts: Mapping[str, Tensor] = net(pictures, targets)
        figures = {name.removeprefix("loss_"): part.detach() for name, part in parts.items()}
        return sum(parts.values(), start=pictures[0].new_zeros(())), figures

    def evaluate(self, net: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        """COCO's figures on the test set, from 0 to 1; of the last evaluation `scores` keeps everything."""
        assert isinstance(net, TwoStageDetector | OneStageDetector)
        rows: list[CocoDetection] = detect(net, self.test_set, workers=self.recipe.workers)
        self.scores = score(self.test_set, rows)
        figures = {
            "average_precision": self.scores.average_precision,
            "average_precision_50": self.scores.average_precision_50,
            "average_precision_75": self.scores.average_precision_75,
        }
        return {name: value or 0.0 for name, value in figures.items()}

    def save(self, net: nn.Module, folder: Path) -> None:
        assert isinstance(net, TwoStageDetector | OneStageDetector)
        save_detector(net, folder, overwrite=True)


@dataclass(frozen=True)
class DetectorTraining:
    """What training ended with. `finished` is false if it was told to stop; then `scores` is None, and `resume=True` goes on."""

    detector: Detector
    folder: Path
    scores: DetectionScores | None
    record: dict[str, Any]
    finished: bool


def _size(config: DetectorConfig) -> dict[str, Any]:
    """The size of the pictures, for the record: Table 7's short side, and a one-stage detector's height and width."""
    if isinstance(config, TwoStageConfig):
        return {"short_side": config.short_side}
    assert isinstance(config, OneStageConfig)
    return {"short_side": min(config.size), "size": list(config.size)}


def train_detector(
    detector: Detector,
    recipe: DetectionRecipe,
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
        open_run(
            folder,
            detector,
            settings,
            resume=resume,
            kept=recipe.keep_checkpoints,
            averaged=recipe.ema_decay is not None,
        )
    accelerator.wait_for_everyone()
    task = DetectionTask(detector, recipe, training_set, test_set)
    with ExitStack() as stack:
        watching = [*observers, stack.enter_context(Trackers(accelerator, folder, settings))]
        if console and accelerator.is_main_process:
            watching.append(
                stack.enter_context(Terminal(recipe.batch_size, len(training_set.pictures), iterations, console))
            )
        result = fit(task, recipe, folder, accelerator, resume=resume, observers=tuple(watching))
    trained = result.net
    assert isinstance(trained, TwoStageDetector | OneStageDetector)
    if result.finished and task.scores is None:  # resumed after the last iteration
        task.evaluate(trained, accelerator)
    record = {
        "dataset": dataset,
        "variant": detector.config.backbone["name"],
        **_size(detector.config),
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
