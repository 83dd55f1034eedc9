"""`shufflenet convert SRC -o FOLDER`: checkpoints of other implementations, made ours."""

from pathlib import Path
from typing import Annotated

import typer

FETCHED = "pytorchcv:"


def convert(
    src: Annotated[
        str, typer.Argument(help="A checkpoint file, or pytorchcv:NAME to fetch pytorchcv's ImageNet weights.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    source: Annotated[
        str | None, typer.Option(help="Whose file it is: megvii, pytorchcv, mmpretrain or tensorpack.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Which network it is, by the source's own name or ours (shufflenet_x1_0_g3).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is in the folder.")] = False,
) -> None:
    """Turn another implementation's ShuffleNet into a folder of ours that computes the same, preprocessing included.

    Examples:

      shufflenet convert pytorchcv:shufflenet_g3_w1 -o shufflenet_g3

      shufflenet convert 0.5x_g3.pth.tar --source megvii --variant shufflenet_x0_5_g3 -o megvii_x0_5

      shufflenet convert model.npz --source tensorpack --variant ShuffleNetV1-0.5x-g8 -o tensorpack_x0_5
    """
    from shufflenet.checkpoints import convert, describe, save
    from shufflenet.checkpoints.converters.pytorchcv import fetch
    from shufflenet.cli.terminal import say
    from shufflenet.errors import UserError

    if src.startswith(FETCHED):
        name = src.removeprefix(FETCHED)
        if source not in (None, "pytorchcv") or variant not in (None, name):
            raise UserError(f"{src} says source and variant already; leave --source and --variant out")
        path, top5_error = fetch(name)
        net = convert(path, "pytorchcv", name, training={"dataset": "imagenet", "top5_error": top5_error})
    else:
        if source is None or variant is None:
            raise UserError(
                f"{src} does not say what it is; give --source and --variant (see shufflenet convert --help)"
            )
        net = convert(src, source, variant)
    save(net, output, overwrite=overwrite)
    changed = [f"{key}={value!r}" for key, value in net.spec.items() if key not in ("name", "stem", "in_channels")]
    say(f"{output}: {net.spec['name']} with {', '.join(changed)}")
    say(f"input: {describe(net.metadata.preprocessing)}")
