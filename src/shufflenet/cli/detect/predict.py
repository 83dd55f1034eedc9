"""`shufflenet detect predict FOLDER IMAGE...`: boxes in pictures."""

from pathlib import Path
from typing import Annotated

import typer

from shufflenet.cli.detect.options import DetectorFolder, EngineOption, Json, finder


def predict(
    folder: DetectorFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Picture files, or folders of them.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the drawn pictures and predictions.json.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out what the detector is less sure of.")] = 0.5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier run left in the folder.")
    ] = False,
    engine: EngineOption = "torch",
    json: Json = False,
) -> None:
    """Find objects in pictures: print them, and with -o draw them and write predictions.json.

    A file that cannot be read is reported by name while the others go on; the exit status is 1 then.

    Examples:

      shufflenet detect predict runs/coco street.jpg -o found

      shufflenet detect predict runs/coco holiday/ --threshold 0.3 --json
    """
    import json as json_format
    from dataclasses import asdict

    import torch
    from rich.progress import track

    from shufflenet.atomic import write_text, writing
    from shufflenet.cli.terminal import Column, console, name, print_json, print_table, say, say_error
    from shufflenet.data.folders import describe_passed_over
    from shufflenet.data.pictures import BrokenPictureError
    from shufflenet.data.predict import picture_files
    from shufflenet.detection import draw, load_detector
    from shufflenet.detection import predict as predict_picture
    from shufflenet.detection.predict import drawing_names
    from shufflenet.errors import UserError

    detector = load_detector(folder)
    find = finder(detector, engine)
    files, passed_over = picture_files(images)
    names = list(drawing_names(files))
    if output and not overwrite:
        taken = next((drawing for drawing in (*names, "predictions.json") if (output / drawing).exists()), None)
        if taken:
            raise UserError(f"{output / taken} is there already; choose another folder, or give --overwrite")
    if passed_over:
        say(describe_passed_over(passed_over), stderr=True)
    detector.to(torch.accelerator.current_accelerator() or "cpu" if torch.accelerator.is_available() else "cpu")
    records, errors = [], []
    bar = console(stderr=True)
    for file, drawing in track(
        list(zip(files, names, strict=True)), "looking at pictures", console=bar, transient=True, disable=len(files) < 8
    ):
        try:
            prediction = predict_picture(detector, file, threshold=threshold, find=find)
            drawn = draw(prediction) if output else None
        except BrokenPictureError as error:
            errors.append(str(error))
            records.append({"picture": str(file), "error": str(error)})
            continue
        record = asdict(prediction)
        if output and drawn:
            with writing(output / drawing) as temporary:
                drawn.save(temporary)
            record["drawing"] = drawing
        records.append(record)
    for error in errors:
        say_error(error)
    if output:
        write_text(output / "predictions.json", json_format.dumps(records, indent=2, ensure_ascii=False) + "\n")
    if json:
        print_json(records)
    elif len(errors) < len(records):
        rows = []
        for record in records:
            for found in record.get("detections", ()):
                box = ", ".join(f"{side:.0f}" for side in found["box"])
                rows.append((record["picture"], found["label"], f"{found['score']:.0%}", box))
            if not record.get("detections", True):
                rows.append((record["picture"], "nothing", "", ""))
        print_table((name("picture"), name("object"), Column("score"), Column("x, y, width, height")), rows)
    if errors:
        raise typer.Exit(1)
