"""Quantization-aware fine-tuning: the network learns on with the roundings in place, through the loop that trains every other network.

Scales of activations stay as calibration found them; those of weights follow the weights. Gradients pass straight through what rounds
and stop where a number is cut off. Batch normalization is folded into the weights before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from shufflenet.checkpoints.folder import metadata_of
from shufflenet.data import SMALL_PICTURES, PictureDataset
from shufflenet.nets import Network
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.training import Recipe, Training, train
from shufflenet.training.evaluate import labelled_for
from shufflenet.training.recipe import merge, override

QAT = Recipe(
    iterations=None,
    epochs=2,
    batch_size=64,
    learning_rate=0.001,
    learning_rate_batch_size=64,
    schedule="cosine",
    warmup_iterations=50,
    weight_decay=4e-5,
    augmentation=SMALL_PICTURES,
    distillation_temperature=1.0,
)


def aware_recipe(net: Network, settings: Mapping[str, Any] | None = None) -> Recipe:
    """`QAT` with the augmentation that the checkpoint was trained with, where it says so, and with fields changed by `settings`."""
    trained = metadata_of(net).training.get("recipe", {})
    augmentation = trained.get("augmentation") if isinstance(trained, Mapping) else None
    return override(QAT, merge({"augmentation": augmentation} if augmentation else {}, settings or {}))


def fine_tune(
    net: QuantizedNetwork,
    recipe: Recipe,
    training_set: PictureDataset,
    test_set: PictureDataset,
    folder: str | Path,
    *,
    teacher: Network,
    resume: bool = False,
    console: Console | None = None,
) -> Training:
    """Train a calibrated network in learning form; `folder` becomes a run folder, as `shufflenet train` makes it, with integers inside.

    `teacher` is the float32 network that it was made of, whose probabilities it learns beside the labels.
    """
    classes = metadata_of(net).classes
    sets = labelled_for(training_set, classes), labelled_for(test_set, classes)
    return train(recipe, *sets, net, folder, teacher=teacher, resume=resume, console=console)
