"""`shufflenet export FOLDER --format onnx -o DIR`: a network for another runtime."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    folder: Annotated[
        str, typer.Argument(help="A checkpoint folder, a shipped name, a Hub id, or a variant (random weights).")
    ],
    format: Annotated[
        str, typer.Option("--format", help="onnx, openvino, ncnn, mnn, litert, executorch or torchscript.")
    ] = "onnx",
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("."),
    size: Annotated[
        str | None, typer.Option(help="Height × width of the picture, such as 480x640; default: the checkpoint's.")
    ] = None,
    open_size: Annotated[
        bool, typer.Option("--open-size", help="Leave height and width open (onnx, openvino).")
    ] = False,
    fold_batch_norm: Annotated[
        bool,
        typer.Option(
            "--fold-batch-norm",
            help="Merge batch normalization into the convolutions (onnx; the other formats always do).",
        ),
    ] = False,
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="uint8 pictures (n, h, w, c) in, probabilities out.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    r"""Write a network for another runtime, run it there on real pictures, and say how far it is from torch.

    A .json beside the file holds its size, the input and preprocessing that it expects, the classes, and the comparison.

    Each format is an extra: pip install 'shufflenet\[onnx,openvino,ncnn,mnn,litert,executorch]'.

    Examples:

      shufflenet export runs/flowers --format onnx -o exported

      shufflenet export runs/flowers --format ncnn -o exported --with-preprocessing
    """
    import json as json_format
    from contextlib import nullcontext

    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import console, print_json, say
    from shufflenet.deploy.export import export as write
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.resolve import RANDOM, is_variant, resolve_network

    net = resolve_network(folder, parse_size(size) if size else None)
    source = Exportable(
        net,
        parse_size(size) if size else net.metadata.preprocessing.size,
        with_preprocessing=with_preprocessing,
        open_size=open_size,
        fold_batch_norm=fold_batch_norm or format != "onnx",  # the other converters would do it themselves
    )
    with nullcontext() if json else console(stderr=True).status("starting") as status:
        progress = status.update if status else lambda _: None
        done = write(source, format, output, overwrite=overwrite, progress=progress)
    if json:
        record = json_format.loads(done.record.read_text(encoding="utf-8"))
        print_json({**record, "random_weights": is_variant(folder)})
        return
    parity = done.parity
    say(f"wrote {', '.join(map(str, done.files))}: {done.bytes:,} bytes")
    if is_variant(folder):
        say(RANDOM.format(folder))
    say(
        f"{done.runtime} on {parity.pictures} pictures: largest difference from torch {parity.max_relative_difference:.1e} of the "
        f"largest result, same best class for {parity.top1_agreement:.0%}"
    )
    say(f"its input, preprocessing and classes are in {done.record}")
