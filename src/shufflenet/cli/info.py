"""`shufflenet info NAME`: what a network is made of and what it costs."""

from typing import Annotated

import typer


def info(
    name: Annotated[str, typer.Argument(help="A variant (see `shufflenet list`) or a checkpoint folder.")],
    size: Annotated[str, typer.Option(help="Height × width of the picture, such as 480x640.")] = "224x224",
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer, not only the stages.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a network's stages as the paper's Table 1 does, with parameters and multiply-adds.

    Examples:

      shufflenet info shufflenet_x1_0_g3

      shufflenet info mobilenet_x0_5 --size 480x640 --layers
    """
    from dataclasses import asdict
    from pathlib import Path

    import rich
    from rich.table import Table

    from shufflenet.checkpoints import load
    from shufflenet.cli.options import parse_size
    from shufflenet.nets import cost, create, variants

    net = load(name) if Path(name).is_dir() else create(name)
    variant = variants()[net.spec["name"]]
    counted = cost(net, parse_size(size))
    if json:
        rich.print_json(data={"spec": net.spec, **asdict(counted)})
        return
    table = Table(box=None, header_style="bold")
    table.add_column("layer")
    for heading in ("output size", "channels", "stride", "repeat", "parameters", "multiply-adds"):
        table.add_column(heading, justify="right")
    for row in counted.layers if layers or not counted.stages else counted.stages:
        channels, *plane = row.output_shape
        table.add_row(
            row.name,
            "×".join(map(str, plane)) or "1×1",
            str(channels),
            str(row.stride or 1),
            str(getattr(row, "repeat", 1)),
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e6:.2f}M",
        )
    rich.print(table)
    rich.print(f"{name}: {counted.multiply_adds / 1e6:.1f}M multiply-adds, {counted.parameters:,} parameters at {size}")
    if variant.printed_multiply_adds is not None:
        error = "" if variant.printed_error is None else f" at {variant.printed_error:g}% top-1 error on ImageNet"
        rich.print(f"the paper prints {variant.printed_multiply_adds:g}M{error}")
