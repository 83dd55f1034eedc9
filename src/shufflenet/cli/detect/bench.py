"""`shufflenet detect bench FOLDER PICTURE`: a detector's time from pixels to boxes, in several engines."""

from pathlib import Path
from typing import Annotated

import typer

from shufflenet.cli.detect.options import DetectorFolder, Json


def bench(
    folder: DetectorFolder,
    picture: Annotated[Path, typer.Argument(help="The picture that is looked at, of the kind that you will have.")],
    engines: Annotated[
        str, typer.Option(help="Names with commas: compiled, onnx, openvino, torch.")
    ] = "compiled,onnx,openvino,torch",
    threads: Annotated[int, typer.Option(min=1, help="Threads that an engine may use; compiled has one.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every engine has its turn.")] = 20,
    json: Json = False,
) -> None:
    """Compare engines on one picture: the whole call, from 8-bit pixels to boxes, and how many of torch's boxes each finds.

    ONNX Runtime and OpenVINO run the graph that `detect export` writes, resizing and non-maximum suppression in it.

    Examples:

      shufflenet detect bench runs/cells cell.jpg

      shufflenet detect bench runs/cells cell.jpg --engines compiled,openvino --rounds 50 --json
    """
    from contextlib import nullcontext

    import numpy as np
    from rich.table import Table

    from shufflenet.cli.terminal import console, print_json, print_whole
    from shufflenet.data.pictures import read_picture
    from shufflenet.deploy.bench import three_digits
    from shufflenet.deploy.detector_bench import bench_detector
    from shufflenet.detection import load_detector
    from shufflenet.errors import UserError

    detector = load_detector(folder)
    pixels = np.array(read_picture(picture))
    with nullcontext() if json else console(stderr=True).status("starting") as status:
        done = bench_detector(
            detector,
            pixels,
            [name.strip() for name in engines.split(",")],
            threads=threads,
            rounds=rounds,
            progress=status.update if status else lambda _: None,
        )
    if not done.rows:
        raise UserError(f"nothing was measured; {'; '.join(absent.reason for absent in done.absent)}")
    if json:
        print_json(done.to_json())
        return
    table = Table(title=done.title, box=None, header_style="bold", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("engine", no_wrap=True)
    for heading in ("median ms", "10–90% ms", "ratio", "boxes", "of torch's"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in done.rows:
        table.add_row(
            f"{row.title} {row.version}",
            three_digits(row.median_ms),
            f"{three_digits(row.p10_ms)}–{three_digits(row.p90_ms)}",
            f"{three_digits(row.median_ms / done.rows[0].median_ms)}×",
            str(row.boxes),
            f"{row.matched:.0%}",
        )
    print_whole(table)
    for absent in done.absent:
        print_whole(f"not measured: {absent.runtime}: {absent.reason}")
