"""`shufflenet predict FOLDER IMAGE...`: which class pictures belong to."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from shufflenet.nets.network import Network


def predict(
    folder: Annotated[
        str, typer.Argument(help="A checkpoint: a folder, a name that ships with the package, or a Hub id.")
    ],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Picture files, or folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each picture.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 32,
    engine: Annotated[
        Literal["torch", "compiled"], typer.Option(help="Compute with torch, or with the network compiled to C.")
    ] = "torch",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which class each picture belongs to, with probabilities.

    A file that cannot be read is reported by name while the others go on; the exit status is 1 then.

    Examples:

      shufflenet predict runs/shoes photo.jpg

      shufflenet predict user/repo holiday/ --top 1 --json

      shufflenet predict runs/shoes *.png --engine compiled
    """
    from dataclasses import asdict

    from rich.progress import track

    from shufflenet.cli.terminal import Column, console, name, print_json, print_table, say, say_error
    from shufflenet.data.folders import describe_passed_over
    from shufflenet.data.predict import picture_files, predict
    from shufflenet.deploy.resolve import resolve_trained

    net = resolve_trained(folder)
    files, passed_over = picture_files(images)
    metadata = net.metadata
    classify = net if engine == "torch" else _compiled(net)
    if passed_over:
        say(describe_passed_over(passed_over), stderr=True)
    found = predict(classify, metadata, files, top=top, batch_size=batch_size)
    few = len(files) <= batch_size
    predictions = list(
        track(found, "reading pictures", total=len(files), console=console(stderr=True), transient=True, disable=few)
    )
    failed = [prediction for prediction in predictions if prediction.error]
    for prediction in failed:
        say_error(prediction.error or "")
    if json:
        print_json([asdict(prediction) for prediction in predictions])
    elif len(failed) < len(predictions):
        rows = [
            ("" if place else prediction.file, found_class.name, f"{found_class.probability:.1%}")
            for prediction in predictions
            for place, found_class in enumerate(prediction.classes)
        ]
        print_table((name("picture"), name("class"), Column("probability", essential=True)), rows)
    if failed:
        raise typer.Exit(1)


def _compiled(net: "Network") -> "Callable[[Tensor], Tensor]":
    """`net` compiled to C for its own input size: [n, channels, height, width] → logits [n, classes]."""
    import torch

    from shufflenet.errors import UserError

    try:
        from shufflenet.deploy.compile import compile
    except ImportError as error:
        raise UserError(
            "compiling needs onnx and a C compiler; pip install 'shufflenet[compile]' brings both"
        ) from error
    run = compile(net)
    return lambda pictures: torch.stack([torch.from_numpy(run(picture.numpy())) for picture in pictures])
