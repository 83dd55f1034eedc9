"""`shufflenet detect scenes FOLDER`: a small data set of garments, to try detectors on."""

from pathlib import Path
from typing import Annotated

import typer


def scenes(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    train: Annotated[int, typer.Option(min=1, help="Scenes of training garments.")] = 6000,
    test: Annotated[int, typer.Option(min=1, help="Scenes of test garments.")] = 500,
    size: Annotated[int, typer.Option(help="Height and width of a scene, in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="The same seed makes the same scenes.")] = 0,
    garments: Annotated[
        str, typer.Option(help="fashion-mnist, or fashion-mnist-7k, which comes with this package.")
    ] = "fashion-mnist-7k",
) -> None:
    """Make a small detection data set in COCO's layout: Fashion-MNIST's garments on textured backgrounds, one to six a scene.

    Garments of the training split are in train/ only, those of the test split in val/.

    Examples:

      shufflenet detect scenes scenes --train 200 --test 50
    """
    from functools import partial

    from shufflenet.cli.terminal import say
    from shufflenet.data import open_dataset
    from shufflenet.detection.scenes import make_scenes

    make_scenes(folder, partial(open_dataset, garments), train=train, test=test, size=size, seed=seed)
    say(f"{folder}: {train} scenes to train on, {test} to test on")
