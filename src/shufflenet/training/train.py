"""From a recipe, pictures and a variant to a trained network in a folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from shufflenet import checkpoints
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.data.datasets import PictureDataset
from shufflenet.nets import Network, cost, create
from shufflenet.nets.shufflenet import Stem
from shufflenet.training.classification import Classification
from shufflenet.training.evaluate import Evaluation, labelled_for
from shufflenet.training.loop import Fit, Observer, count_iterations, fit, make_accelerator
from shufflenet.training.optimizer import scaled_learning_rate
from shufflenet.training.recipe import Recipe, for_network, to_dict
from shufflenet.training.run_folder import open_run, run_record, write_json


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
    stem: Stem = "imagenet",
    preprocessing: Preprocessing | None = None,
    resume: bool = False,
    accelerator: Accelerator | None = None,
    observers: tuple[Observer, ...] = (),
) -> Training:
    """Train a network of `variant`, by the recipe, into the run folder: what `load` reads, result.json, report.html, checkpoints/, best/.

    `variant` may be a trained network to start from; where it has other classes than the training set, its classifier is made anew.
    `preprocessing` is by default the network's, or the data set's. `resume` goes on from the last checkpoint in the folder, or begins.
    Raises UserError for a folder that holds another run, and whatever `fit` raises.
    """
    folder = Path(folder)
    accelerator = accelerator or make_accelerator(recipe)
    torch.manual_seed(recipe.seed)
    preprocessing = preprocessing or training_set.preprocessing
    if isinstance(variant, str):
        net = create(variant, num_classes=len(training_set.classes), in_channels=preprocessing.channels, stem=stem)
        net.metadata = Metadata(preprocessing, tuple(training_set.classes))
    else:
        net = _with_classes(variant, tuple(training_set.classes))
    recipe = for_network(recipe, cost(net).multiply_adds)
    test_set = labelled_for(test_set, net.metadata.classes)
    iterations = count_iterations(recipe, len(training_set), accelerator.num_processes)
    _say_learning_rate(recipe, accelerator)
    if accelerator.is_main_process:
        open_run(folder, net, {"variant": net.spec["name"], **to_dict(recipe)}, recipe, resume=resume)
    accelerator.wait_for_everyone()
    task = Classification(net, recipe, training_set, test_set)
    result = fit(task, recipe, folder, accelerator, resume=resume, observers=observers)
    trained = result.net
    assert isinstance(trained, Network)
    record = _record(recipe, trained, training_set, result, iterations, accelerator)
    trained.metadata = replace(trained.metadata, training=record)
    if result.finished and accelerator.is_main_process:
        checkpoints.save(trained, folder, overwrite=True)
        write_json(folder / "result.json", record)
    accelerator.wait_for_everyone()
    return Training(trained.eval(), folder, task.evaluation if result.finished else None, record, result.finished)


def _with_classes(net: Network, classes: tuple[str, ...]) -> Network:
    """A trained network for `classes`: itself if they are its own, else a twin with a new classifier."""
    if tuple(net.metadata.classes) == classes:
        return net
    twin = create(**{**net.spec, "num_classes": len(classes)})
    own = twin.state_dict()
    twin.load_state_dict(
        {name: tensor if tensor.shape == own[name].shape else own[name] for name, tensor in net.state_dict().items()}
    )
    twin.metadata = replace(net.metadata, classes=classes, training={})
    return twin


def _say_learning_rate(recipe: Recipe, accelerator: Accelerator) -> None:
    rate = scaled_learning_rate(recipe)
    if rate != recipe.learning_rate:
        accelerator.print(
            f"learning rate {recipe.learning_rate:g} is for batches of {recipe.learning_rate_batch_size}; at {recipe.batch_size} it is {rate:g} "
            f"(learning_rate_batch_size=null keeps {recipe.learning_rate:g})"
        )


def _record(
    recipe: Recipe, net: Network, training_set: PictureDataset, result: Fit, iterations: int, accelerator: Accelerator
) -> dict[str, Any]:
    """What the checkpoint's metadata and result.json say about the run."""
    return {"variant": net.spec["name"], **run_record(recipe, len(training_set), result, iterations, accelerator)}
