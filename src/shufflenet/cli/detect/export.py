"""`shufflenet detect export FOLDER FILE`: a detector for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from shufflenet.cli.detect.options import DetectorFolder


def export(
    folder: DetectorFolder,
    file: Annotated[Path, typer.Argument(help="The file to write: .onnx, .ncnn.param or .tflite.")],
    format: Annotated[
        str, typer.Option("--format", help="onnx, or for the heads of an ssdlite ncnn or litert.")
    ] = "onnx",
    backbone: Annotated[
        str | None, typer.Option(metavar="HxW", help="Only the network, for normalized pictures of this size.")
    ] = None,
    heads: Annotated[
        bool,
        typer.Option("--heads", help="ssdlite, fpn: what the network computes, and FILE.json: how that becomes boxes."),
    ] = False,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="With --heads of an fpn: the size of the pictures.")
    ] = None,
) -> None:
    """Write a detector as ONNX: a picture of any size in, boxes, labels and scores out; or a part of it.

    For ncnn and LiteRT it is what the network of an ssdlite computes, and a .json that says how that becomes boxes. The file is run
    in its runtime on real pictures and compared with torch.

    Examples:

      shufflenet detect export runs/coco detector.onnx

      shufflenet detect export runs/cells heads.onnx --heads

      shufflenet detect export runs/cells cells.ncnn.param --format ncnn

      shufflenet detect export runs/cells cells.tflite --format litert

      shufflenet detect export runs/coco backbone.onnx --backbone 300x400 && shufflenet compile backbone.onnx -o backbone_c
    """
    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import console, say
    from shufflenet.detection import export_backbone_onnx, export_onnx, load_detector
    from shufflenet.errors import UserError

    detector = load_detector(folder)
    if format != "onnx":
        from shufflenet.deploy.heads import export_heads_for

        if backbone or size:
            raise UserError(
                f"{'--backbone' if backbone else '--size'} is for ONNX; {format} gets an ssdlite's heads, of its own size"
            )
        with console(stderr=True).status("starting") as status:
            done = export_heads_for(detector, file, format, progress=status.update)
        say(f"wrote {', '.join(map(str, done.files))}: picture (float32, normalized) → logits and offsets")
        say(
            f"{done.runtime} on {done.pictures} pictures: largest difference from torch {done.max_relative_difference:.1e} of the "
            "largest result"
        )
        say(f"sizes, outputs, anchors and thresholds are in {done.record}")
        return
    if heads and backbone:
        raise UserError("--heads and --backbone are two exports; give one of them")
    if size and not heads:
        raise UserError("--size is for --heads; a whole detector takes pictures of any size")
    if heads:
        from shufflenet.deploy.detector import export_heads

        graph, parameters = export_heads(detector, file, parse_size(size) if size else None)
        say(f"{graph}: picture (float32, normalized) → logits and offsets; {parameters}: sizes, anchors and thresholds")
        return
    if backbone:
        export_backbone_onnx(detector, file, size=parse_size(backbone))
        say(f"{file}: picture (float32, {backbone}, normalized) → {', '.join(detector.backbone.taps)}")
        return
    export_onnx(detector, file)
    names = ", ".join(category.name for category in detector.config.categories)
    say(f"{file}: picture (RGB, float32 [3, h, w] from 0 to 1) → boxes, labels, scores; labels from 1 up are {names}")
