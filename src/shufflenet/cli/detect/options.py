"""What several verbs of `shufflenet detect` read from the command line in the same way."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(help="A folder in COCO's layout, or an annotation file in COCO's format.")]
DetectorFolder = Annotated[Path, typer.Argument(help="A detector's folder, as `detect train` writes it.")]
Pictures = Annotated[
    Path | None, typer.Option(help="The folder of the pictures, where it is not beside the annotations.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
