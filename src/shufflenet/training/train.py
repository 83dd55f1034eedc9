"""From a recipe, pictures and a variant to a trained network in a folder."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from shufflenet import checkpoints
from shufflenet.atomic import write_text
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.data import PictureDataset, class_keys, class_map, listed
from shufflenet.errors import UserError
from shufflenet.nets import Network, cost, create
from shufflenet.nets.shufflenet import StemKind
from shufflenet.training.classification import Classification
from shufflenet.training.evaluate import Evaluation
from shufflenet.training.loop import Observer, count_iterations, fit, make_accelerator
from shufflenet.training.observers import Terminal, Trackers
from shufflenet.training.recipe import Recipe, for_network, to_dict
from shufflenet.training.report import report
from shufflenet.training.run_folder import open_run, run_record, write_json
from shufflenet.training.teachers import TeacherNetwork, as_teacher


@dataclass(frozen=True)
class Training:
    """What training ended with. `finished` is false if it was told to stop; then `evaluation` is None, and `resume=True` goes on."""

    net: Network
    folder: Path
    evaluation: Evaluation | None
    record: dict[str, Any]
    finished: bool


def train(
    recipe: Recipe,
    training_set: PictureDataset,
    test_set: PictureDataset,
    variant: str | Network,
    folder: str | Path,
    *,
    stem: StemKind = "imagenet",
    preprocessing: Preprocessing | None = None,
    teacher: Network | TeacherNetwork | None = None,
    resume: bool = False,
    trackers: tuple[str, ...] = ("tensorboard",),
    console: Console | None = None,
    observers: tuple[Observer, ...] = (),
    accelerator: Accelerator | None = None,
) -> Training:
    """Train a network of `variant` by the recipe, into a run folder: what `load` reads, result.json, report.html, checkpoints/, best/.

    `variant` may be a trained network to start from. Its classifier's rows go by the classes' names: new classes get new rows.
    `teacher` is a network that knows the same classes, whose probabilities are learned beside the labels (`library_teacher` makes others').
    `preprocessing` is by default the network's, else the data set's. `resume` goes on from the last checkpoint in the folder, or begins.
    `trackers` are any that Accelerate knows, for the accelerator that is made where none is given. Progress is shown on `console`. Under
    `accelerate launch` every process calls this. Raises UserError for a folder that holds another run, and whatever `fit` raises.
    """
    folder = Path(folder)
    torch.manual_seed(recipe.seed)
    taught_by = as_teacher(teacher) if isinstance(teacher, Network) else teacher
    net = _network(variant, training_set, preprocessing, stem)
    recipe = for_network(recipe, cost(net).multiply_adds)
    test_set = test_set.relabelled(class_map(test_set.classes, net.metadata.classes), net.metadata.classes)
    accelerator = accelerator or make_accelerator(recipe, log_with=list(trackers) or None, project_dir=folder)
    iterations = count_iterations(recipe, len(training_set), accelerator.num_processes)
    settings = {
        "variant": net.spec["name"],
        "classes": list(net.metadata.classes),
        "size": list(net.metadata.preprocessing.size),
        **({"teacher": taught_by.name} if taught_by else {}),
        **to_dict(recipe),
    }
    if accelerator.is_main_process:
        open_run(
            folder,
            net,
            settings,
            resume=resume,
            kept=recipe.keep_checkpoints,
            averaged=recipe.ema_decay is not None,
        )
    accelerator.wait_for_everyone()
    task = Classification(net, recipe, training_set, test_set, taught_by)
    with ExitStack() as stack:
        watching = [*observers, stack.enter_context(Trackers(accelerator, folder, settings))]
        if console and accelerator.is_main_process:
            _say_what_will_happen(net, recipe, len(training_set), iterations, accelerator, console)
            if isinstance(variant, Network):
                _say_which_rows_are_kept(variant, net.metadata.classes, console)
            _say_learning_rate(recipe, console)
            watching.append(stack.enter_context(Terminal(recipe.batch_size, len(training_set), iterations, console)))
        result = fit(task, recipe, folder, accelerator, resume=resume, observers=tuple(watching))
    trained = result.net
    assert isinstance(trained, Network)
    record = {"variant": net.spec["name"], **run_record(recipe, len(training_set), result, iterations, accelerator)}
    trained.metadata = replace(trained.metadata, training=record)
    trained.eval()
    if not result.finished:
        return Training(trained, folder, None, record, finished=False)
    if task.evaluation is None:  # resumed after the last iteration
        task.evaluate(trained, accelerator)
    assert task.evaluation is not None
    if accelerator.is_main_process:
        checkpoints.save(trained, folder, overwrite=True)
        write_json(folder / "result.json", record)
        write_text(folder / "report.html", report(record, result.progress, task.evaluation, test_set))
    accelerator.wait_for_everyone()
    return Training(trained, folder, task.evaluation, record, finished=True)


def _network(
    variant: str | Network, training_set: PictureDataset, preprocessing: Preprocessing | None, stem: StemKind
) -> Network:
    classes = tuple(training_set.classes)
    if isinstance(variant, str):
        preprocessing = preprocessing or training_set.preprocessing
        net = create(variant, num_classes=len(classes), in_channels=preprocessing.channels, stem=stem)
        net.metadata = Metadata(preprocessing, classes)
        return net
    if preprocessing is not None and preprocessing.channels != variant.spec["in_channels"]:
        raise UserError(
            f"the network takes {variant.spec['in_channels']} channels and the preprocessing gives {preprocessing.channels}"
        )
    net = _with_classes(variant, classes)
    net.metadata = replace(net.metadata, preprocessing=preprocessing or net.metadata.preprocessing, training={})
    return net


def kept_classes(net: Network, classes: Sequence[str]) -> dict[int, int]:
    """Which of `classes` the network knows, by name or synset: their places there → their places in the network."""
    known = {key: row for row, key in enumerate(class_keys(net.metadata.classes))}
    return {row: known[key] for row, key in enumerate(class_keys(classes)) if key in known}


def _with_classes(net: Network, classes: tuple[str, ...]) -> Network:
    """A trained network for `classes`: itself if they are its own, else a twin.

    The twin's classifier has the rows of the classes that the network knows, and new ones for the others.
    """
    if tuple(net.metadata.classes) == classes:
        return net
    twin = create(**{**net.spec, "num_classes": len(classes)})
    with torch.device("meta"):
        wider = create(**{**net.spec, "num_classes": net.spec["num_classes"] + 1}).state_dict()
    kept = kept_classes(net, classes)
    state = twin.state_dict()
    for name, tensor in net.state_dict().items():
        if tensor.shape == wider[name].shape:
            state[name] = tensor
        elif kept:
            state[name][list(kept)] = tensor[list(kept.values())]
    twin.load_state_dict(state)
    twin.metadata = replace(net.metadata, classes=classes)
    return twin


def _say_what_will_happen(
    net: Network, recipe: Recipe, pictures: int, iterations: int, accelerator: Accelerator, console: Console
) -> None:
    height, width = net.metadata.preprocessing.size
    device = (
        torch.cuda.get_device_name()
        if accelerator.device.type == "cuda"
        else f"{torch.get_num_threads()} processor thread{'s' if torch.get_num_threads() > 1 else ''}"
    )
    epochs = iterations * recipe.batch_size / pictures
    console.print(
        f"{net.spec['name']} learns {len(net.metadata.classes)} classes from {pictures:,} pictures at {height}×{width}: "
        f"{iterations:,} iterations of {recipe.batch_size} ({epochs:.3g} epochs) on {accelerator.num_processes} × {device}",
        highlight=False,
        markup=False,
    )


def _say_which_rows_are_kept(start: Network, classes: Sequence[str], console: Console) -> None:
    kept = kept_classes(start, classes)
    new = [name for row, name in enumerate(classes) if row not in kept]
    known = f"all {len(classes)} classes" if not new else f"{len(kept)} of {len(classes)} classes"
    which = f" ({listed([classes[row] for row in kept])})" if kept and new else ""
    console.print(
        f"the classifier keeps its rows of {known}{which}{f'; new ones for {listed(new)}' if new else ''}",
        highlight=False,
        markup=False,
    )


def _say_learning_rate(recipe: Recipe, console: Console) -> None:
    rate = recipe.peak_learning_rate
    if rate != recipe.learning_rate:
        console.print(
            f"learning rate {recipe.learning_rate:g} is for batches of {recipe.learning_rate_batch_size}; at {recipe.batch_size} "
            f"it is {rate:g} (learning_rate_batch_size=null keeps {recipe.learning_rate:g})",
            highlight=False,
        )
