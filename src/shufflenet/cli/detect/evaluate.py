"""`shufflenet detect evaluate FOLDER DATA`: COCO's figures of a detector."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shufflenet.cli.detect.options import Data, DetectorFolder, EngineOption, Json, PicturesFolder, finder


def evaluate(
    folder: DetectorFolder,
    data: Data,
    pictures: PicturesFolder = None,
    split: Annotated[Literal["test", "train"], typer.Option(help="Which part of DATA.")] = "test",
    results: Annotated[
        Path | None, typer.Option(help="Write every detection to this file, in COCO's result format.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures at a time; more than one pads different sizes together.")
    ] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 2,
    engine: EngineOption = "torch",
    json: Json = False,
) -> None:
    """Measure a detector as COCO does: mAP[.5:.95], AP50, AP75, and by size of the object.

    Categories are matched by name. Under `accelerate launch` each process takes its share of the pictures.

    Examples:

      shufflenet detect evaluate runs/coco /data/coco --json

      shufflenet detect evaluate runs/cells cells --engine compiled

      accelerate launch -m shufflenet detect evaluate runs/coco /data/coco
    """
    import json as json_format
    from dataclasses import asdict

    from accelerate import PartialState
    from rich.progress import Progress

    from shufflenet.atomic import write_text
    from shufflenet.cli.detect.scores import print_scores
    from shufflenet.cli.terminal import console, print_json
    from shufflenet.detection import load_detector, open_split
    from shufflenet.detection.evaluate import detect, score
    from shufflenet.errors import UserError

    if results and results.exists():
        raise UserError(f"{results} is there already; choose another name, or remove it")
    state = PartialState()
    annotations = open_split(data, split, pictures)
    detector = load_detector(folder).to(state.device)
    find = finder(detector, engine)
    with Progress(console=console(stderr=True), transient=True, disable=not state.is_main_process) as progress:
        bar = progress.add_task("looking at pictures")
        rows = detect(
            detector,
            annotations,
            batch_size=batch_size,
            workers=workers,
            find=find,
            on_batch=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if not state.is_main_process:
        return
    scores = score(annotations, rows)
    if results:
        write_text(results, json_format.dumps(rows))
    if json:
        print_json(asdict(scores))
    else:
        print_scores(scores)
