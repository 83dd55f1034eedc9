"""What several verbs of `shufflenet detect` read from the command line in the same way."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from shufflenet.detection import Detector
    from shufflenet.detection.evaluate import Finder

Data = Annotated[Path, typer.Argument(help="A folder in COCO's layout, or an annotation file in COCO's format.")]
DetectorFolder = Annotated[Path, typer.Argument(help="A detector's folder, as `detect train` writes it.")]
PicturesFolder = Annotated[
    Path | None, typer.Option(help="The folder of the pictures, where it is not beside the annotations.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EngineOption = Annotated[
    Literal["torch", "compiled"],
    typer.Option(help="Compute with torch, or with the detector compiled to C (ssdlite, fpn)."),
]


def finder(detector: "Detector", engine: str) -> "Finder | None":
    """What looks in the detector's place, for `detect` and `predict`. Raises UserError where it cannot be compiled."""
    if engine == "torch":
        return None
    from shufflenet.errors import UserError

    try:
        from shufflenet.deploy.detector import compiled_finder
    except ImportError as error:
        raise UserError(
            "compiling needs onnx and a C compiler; pip install 'shufflenet[compile]' brings both"
        ) from error
    return compiled_finder(detector)
