"""`shufflenet quantize FOLDER DATA -o FOLDER_INT8`: a trained network or detector with 8-bit weights and activations."""

from pathlib import Path
from typing import Annotated, Any

import typer

LAYERS_SHOWN = 5


def quantize(
    folder: Annotated[
        str,
        typer.Argument(
            help="A trained network: a folder, a name that ships with the package, or a Hub id; or a detector's folder (ssdlite)."
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="A data set as for `shufflenet train`, or for `detect train`: its training part calibrates, its test part tests."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    activations: Annotated[str, typer.Option(help="The element of activations: u8 or s8.")] = "u8",
    calibration: Annotated[
        str, typer.Option(help="How a tensor's range is chosen: pictures, minmax, percentile or mse.")
    ] = "pictures",
    equalization: Annotated[
        bool, typer.Option(help="Scale channels to fill their tensor's range before (cross-layer equalization).")
    ] = True,
    bias_correction: Annotated[
        bool, typer.Option(help="Move biases so that each channel keeps its mean after rounding.")
    ] = True,
    pictures: Annotated[int, typer.Option(help="How many training pictures calibrate.")] = 512,
    qat: Annotated[
        bool, typer.Option("--qat", help="Train on with the roundings in place (quantization-aware fine-tuning).")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="With --qat: change a field of its recipe; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --qat: go on from the last checkpoint.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer's noise, not only the worst.")] = False,
    held_out: Annotated[float, typer.Option(help="As in training, where the data has no test split.")] = 0.1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint in the folder.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a network's weights and activations into 8-bit integers, and say what that costs.

    The folder is a checkpoint like any other: evaluate, predict, compile, export (ONNX, with QuantizeLinear and DequantizeLinear) and
    bench take it; a detector's is for the verbs of `shufflenet detect`, compile and web. Prints the error of both networks on the test
    part, the layers that lose most to rounding, and the sizes. With --qat the folder is a run folder too; a few epochs recover most of
    what rounding costs.

    Examples:

      shufflenet quantize fashion-mnist/shufflenet_x0_5_g3 fashion-mnist -o clothes_int8

      shufflenet quantize runs/flowers ~/flowers -o runs/flowers_int8 --qat --set epochs=3

      shufflenet quantize runs/cells cells -o runs/cells_int8

      shufflenet compile runs/flowers_int8 -o flowers_c
    """
    from shufflenet.cli.terminal import console, print_json, say
    from shufflenet.data import open_dataset
    from shufflenet.deploy.resolve import resolve_trained
    from shufflenet.detection.folder import is_detector
    from shufflenet.errors import UserError
    from shufflenet.quantization import Method, quantize_and_test
    from shufflenet.training.recipe import merge, parse_setting

    if (settings or resume) and not qat:
        raise UserError("--set and --resume are for quantization-aware fine-tuning; add --qat, or leave them out")
    usual: dict[str, Any] = {
        "method": Method(activations, calibration, equalization, bias_correction, pictures),
        "overwrite": overwrite,
        "workers": workers,
        "console": console(stderr=json),
    }
    if is_detector(folder):
        if qat:
            raise UserError(f"{folder} is a detector, which is quantized without training; leave out --qat")
        done = _quantize_detector(folder, data, output, usual)
    else:
        done = quantize_and_test(
            resolve_trained(folder),
            open_dataset(data, "train", held_out=held_out),
            open_dataset(data, "test", held_out=held_out),
            output,
            aware=merge(*map(parse_setting, settings or ())) if qat else None,
            resume=resume,
            **usual,
        )
    if done is None:
        say(f"stopped, with a checkpoint in {output}; the same command with --resume goes on", stderr=json)
        return
    if json:
        print_json({"network": folder, "data": data, "folder": str(output), **done})
        return
    _show(done, None if layers else LAYERS_SHOWN)
    say(f"the network is in {output}")


def _quantize_detector(folder: str, data: str, output: Path, options: dict[str, Any]) -> dict[str, Any]:
    from shufflenet.detection import load_detector, open_split
    from shufflenet.quantization import quantize_and_test_detector

    place = Path(data)
    sets = open_split(place, "train"), open_split(place, "test")
    return quantize_and_test_detector(load_detector(folder), *sets, output, **options)


def _show(done: dict, shown: int | None) -> None:
    from shufflenet.cli.terminal import Column, name, print_table

    titles = {"float32": "float32", "post_training": "int8, post-training", "aware": "int8, fine-tuned"}
    figures = {"top1_error": "top-1 error", "top5_error": "top-5 error"}
    if "average_precision" in done["float32"]:
        figures = {"average_precision": "mAP[.5:.95]", "average_precision_50": "AP50"}
    rows = [
        (title, *(_percent(figure, done[key][figure]) for figure in figures), f"{done[key]['bytes']:,}")
        for key, title in titles.items()
        if key in done
    ]
    print_table((name("network"), *map(Column, figures.values()), Column("bytes")), rows)
    noise = [(row["layer"], f"{row['alone_db']:.1f} dB", f"{row['together_db']:.1f} dB") for row in done["layers"]]
    columns = name("layer"), Column("signal to noise, alone"), Column("with all before it")
    print_table(columns, noise[:shown])


def _percent(figure: str, value: float | None) -> str:
    """Errors are in % already, precisions from 0 to 1."""
    if value is None:
        return "–"
    return f"{value if figure.endswith('error') else 100 * value:.2f}%"
