"""`shufflenet detect VERB`: Faster R-CNN on this package's networks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Find objects: train, evaluate and use a Faster R-CNN with one of these networks as its backbone (the paper's Table 7).",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Argument(help="A folder in COCO's layout, or an annotation file in COCO's format.")]
DetectorFolder = Annotated[Path, typer.Argument(help="A detector's folder, as `detect train` writes it.")]
Pictures = Annotated[
    Path | None, typer.Option(help="The folder of the pictures, where it is not beside the annotations.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


NOTES_SHOWN = 20


class Layout(StrEnum):
    paper = "paper"
    fpn = "fpn"


def _print_scores(scores: Any) -> None:
    import rich
    from rich.table import Table

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f}"

    table = Table(
        box=None,
        header_style="bold",
        title=f"{scores.pictures:,} pictures, {scores.objects:,} objects",
        title_justify="left",
    )
    for heading in ("mAP[.5:.95] %", "AP50", "AP75", "small", "medium", "large", "recall"):
        table.add_column(heading, justify="right")
    table.add_row(
        *map(
            percent,
            (
                scores.average_precision,
                scores.average_precision_50,
                scores.average_precision_75,
                scores.average_precision_small,
                scores.average_precision_medium,
                scores.average_precision_large,
                scores.average_recall,
            ),
        )
    )
    rich.print(table)
    categories = Table(box=None, header_style="bold")
    categories.add_column("category")
    categories.add_column("mAP[.5:.95] %", justify="right")
    for name, value in scores.categories.items():
        categories.add_row(name, percent(value))
    rich.print(categories)


@app.command()
def train(
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")],
    variant: Annotated[
        str | None, typer.Option(help="The backbone (see `shufflenet list`), with random weights; or give --from.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--from", help="A trained classifier to start from: its folder, or a Hub id.")
    ] = None,
    layout: Annotated[
        Layout, typer.Option(help="paper: stage 3 for RPN and regions, stage 4 on each region; fpn: a feature pyramid.")
    ] = Layout.paper,
    short_side: Annotated[
        int, typer.Option(help="Pictures are resized to this short side: 300 or 600 in the paper.")
    ] = 600,
    anchor_scale: Annotated[
        float, typer.Option(help="Times the anchors' sizes; below 1 for objects smaller than COCO's.")
    ] = 1.0,
    detector_settings: Annotated[
        list[str] | None,
        typer.Option("--detector", help="field=value of DetectorConfig, such as pool_size=7; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="finetune, scratch or a YAML file. Default: finetune with --from, else scratch.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value of the recipe, such as batch_size=8; repeatable.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="The annotations to evaluate on, where DATA is a file.")] = None,
    pictures: Pictures = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")] = False,
    json: Json = False,
) -> None:
    """Train a Faster R-CNN on COCO's folders as downloaded, or on any annotations in COCO's format.

    COCO of 2014 is split as in the paper: train and val less the 5,000 minival images, which are the test set; COCO of 2017 is that
    split. BN keeps the classifier's statistics (recipe finetune), or is learned over all processes' batches (scratch);
    --set freeze_batch_norm=false and --set sync_batch_norm=true choose otherwise.

    Examples:

      shufflenet detect train /data/coco --from runs/imagenet_1x --short-side 300 -o runs/coco300

      shufflenet detect train train.json --test test.json --from user/repo --layout fpn -o runs/mine

      accelerate launch -m shufflenet detect train /data/coco --from runs/imagenet_1x -o runs/coco600
    """
    import torch
    from accelerate import PartialState
    from rich.console import Console

    from shufflenet.checkpoints import load
    from shufflenet.detection import RECIPES, Detector, detector_config, load_backbone, open_split, train_detector
    from shufflenet.detection.coco import dataset_name
    from shufflenet.detection.detector import backbone_of, preprocessing_of
    from shufflenet.errors import UserError
    from shufflenet.nets import create
    from shufflenet.training.recipe import merge, parse_setting, read_recipe

    if (variant is None) == (weights is None):
        raise UserError("give one of --variant (random weights) and --from (a trained classifier)")
    if data.is_file() and test is None:
        raise UserError(f"{data} is one split; name the annotations to evaluate on with --test")
    overrides = merge(*map(parse_setting, settings or ()))
    chosen = read_recipe(recipe or ("finetune" if weights else "scratch"), overrides, RECIPES)
    training_set = open_split(data, "train", pictures)
    test_set = open_split(test or data, "test", pictures)
    torch.manual_seed(chosen.seed)
    classifier = load(weights) if weights else create(variant or "")
    preprocessing = preprocessing_of(classifier)
    detector = Detector(
        detector_config(
            backbone_of(classifier),
            training_set.categories,
            layout=layout.value,
            short_side=short_side,
            anchor_scale=anchor_scale,
            mean=preprocessing.mean,
            std=preprocessing.std,
            **merge(*map(parse_setting, detector_settings or ())),
        )
    )
    if weights:
        load_backbone(detector, classifier)
    console = Console()
    if PartialState().is_main_process:
        for note in training_set.notes[:NOTES_SHOWN]:
            console.print(note, highlight=False, markup=False)
        if len(training_set.notes) > NOTES_SHOWN:
            console.print(f"and {len(training_set.notes) - NOTES_SHOWN} more")
    training = train_detector(
        detector,
        chosen,
        training_set,
        test_set,
        output,
        dataset=dataset_name(data),
        resume=resume,
        console=None if json else console,
    )
    if not PartialState().is_main_process:
        return
    if training.scores is None:
        console.print(f"stopped, with a checkpoint in {output}; the same command with --resume goes on")
    elif json:
        console.print_json(data=training.record)
    else:
        _print_scores(training.scores)
        console.print(f"{output}: the detector; {output / 'best'}: the best of its evaluations", highlight=False)


@app.command()
def evaluate(
    folder: DetectorFolder,
    data: Data,
    pictures: Pictures = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    results: Annotated[
        Path | None, typer.Option(help="Write every detection to this file, in COCO's result format.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures at a time; more than one pads different sizes together.")
    ] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 2,
    json: Json = False,
) -> None:
    """Measure a detector as COCO does: mAP[.5:.95], AP50, AP75, and by size of the object.

    Categories are matched by name. Under `accelerate launch` each process takes its share of the pictures.

    Examples:

      shufflenet detect evaluate runs/coco /data/coco --json

      accelerate launch -m shufflenet detect evaluate runs/coco /data/coco
    """
    import json as json_format
    from dataclasses import asdict

    import rich
    from accelerate import PartialState
    from rich.console import Console
    from rich.progress import Progress

    from shufflenet.atomic import write_text
    from shufflenet.detection import load_detector, open_split
    from shufflenet.detection.evaluate import detect, score
    from shufflenet.errors import UserError

    if split not in ("train", "test"):
        raise UserError(f"--split is {split!r}; it is train or test")
    if results and results.exists():
        raise UserError(f"{results} is there already; choose another name, or remove it")
    state = PartialState()
    annotations = open_split(data, split, pictures)  # pyright: ignore[reportArgumentType]
    detector = load_detector(folder).to(state.device)
    with Progress(console=Console(stderr=True), transient=True, disable=not state.is_main_process) as progress:
        bar = progress.add_task("looking at pictures")
        rows = detect(
            detector,
            annotations,
            batch_size=batch_size,
            workers=workers,
            on_batch=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if not state.is_main_process:
        return
    scores = score(annotations, rows)
    if results:
        write_text(results, json_format.dumps(rows))
    if json:
        rich.print_json(data=asdict(scores))
    else:
        _print_scores(scores)


@app.command()
def predict(
    folder: DetectorFolder,
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the drawn pictures and predictions.json.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out what the detector is less sure of.")] = 0.5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier run left in the folder.")
    ] = False,
    json: Json = False,
) -> None:
    """Find objects in pictures: print them, and with -o draw them and write predictions.json.

    Examples:

      shufflenet detect predict runs/coco street.jpg -o found

      shufflenet detect predict runs/coco *.jpg --threshold 0.3 --json
    """
    import json as json_format
    from dataclasses import asdict

    import rich
    import torch
    from rich.table import Table

    from shufflenet.atomic import write_text, writing
    from shufflenet.detection import draw, load_detector
    from shufflenet.detection import predict as predict_picture
    from shufflenet.detection.predict import drawing_names
    from shufflenet.errors import UserError

    names = list(drawing_names(images))
    if output and not overwrite:
        taken = next((name for name in (*names, "predictions.json") if (output / name).exists()), None)
        if taken:
            raise UserError(f"{output / taken} is there already; choose another folder, or give --overwrite")
    device = (
        torch.accelerator.current_accelerator() or torch.device("cpu") if torch.accelerator.is_available() else "cpu"
    )
    detector = load_detector(folder).to(device)
    records = []
    for image, name in zip(images, names, strict=True):
        prediction = predict_picture(detector, image, threshold=threshold)
        record = asdict(prediction)
        if output:
            with writing(output / name) as temporary:
                draw(prediction).save(temporary)
            record["drawing"] = name
        records.append(record)
    if output:
        write_text(output / "predictions.json", json_format.dumps(records, indent=2, ensure_ascii=False) + "\n")
    if json:
        rich.print_json(data=records)
        return
    table = Table(box=None, header_style="bold")
    for heading in ("picture", "object", "score", "x, y, width, height"):
        table.add_column(heading)
    for record in records:
        for found in record["detections"]:
            table.add_row(
                record["picture"],
                found["label"],
                f"{found['score']:.0%}",
                ", ".join(f"{side:.0f}" for side in found["box"]),
            )
        if not record["detections"]:
            table.add_row(record["picture"], "nothing")
    rich.print(table)


@app.command()
def export(
    folder: DetectorFolder,
    file: Annotated[Path, typer.Argument(help="The ONNX file to write.")],
    backbone: Annotated[
        str | None, typer.Option(metavar="HxW", help="Only the network, for normalized pictures of this size.")
    ] = None,
) -> None:
    """Write a detector as ONNX: a picture of any size in, boxes, labels and scores out; or its backbone, which compiles.

    Examples:

      shufflenet detect export runs/coco detector.onnx

      shufflenet detect export runs/coco backbone.onnx --backbone 300x400 && shufflenet compile backbone.onnx -o backbone_c
    """
    import rich

    from shufflenet.cli.options import parse_size
    from shufflenet.detection import export_backbone_onnx, export_onnx, load_detector

    detector = load_detector(folder)
    if backbone:
        export_backbone_onnx(detector, file, size=parse_size(backbone))
        rich.print(f"{file}: picture (float32, {backbone}, normalized) → {', '.join(detector.backbone.taps)}")
        return
    export_onnx(detector, file)
    names = ", ".join(category.name for category in detector.config.categories)
    rich.print(
        f"{file}: picture (RGB, float32 \\[3, h, w] from 0 to 1) → boxes, labels, scores; labels from 1 up are {names}"
    )


@app.command()
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

    import rich

    from shufflenet.data import open_dataset
    from shufflenet.detection.scenes import make_scenes

    make_scenes(folder, partial(open_dataset, garments), train=train, test=test, size=size, seed=seed)
    rich.print(f"{folder}: {train} scenes to train on, {test} to test on")
