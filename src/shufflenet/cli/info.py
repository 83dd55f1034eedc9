"""`shufflenet info NAME`: what a network is made of and what it costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shufflenet.nets import Network
    from shufflenet.paper.counted import CountedRow


def info(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A variant (see `shufflenet list`), a checkpoint folder, a shipped name or a Hub id."
        ),
    ],
    size: Annotated[
        str | None, typer.Option(help="Height × width of the picture, such as 480x640; default: the network's own.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer, not only the stages.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, layers included.")] = False,
) -> None:
    """Show a network's stages as the paper's Table 1 does, with parameters and multiply-adds.

    Examples:

      shufflenet info shufflenet_x1_0_g3

      shufflenet info mobilenet_x0_5 --size 480x640 --layers
    """
    from dataclasses import asdict

    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import Column, name, print_json, print_table, say
    from shufflenet.paper.counted import CountedRow, counted, summary
    from shufflenet.paper.published import printed

    variant, rows = source, None
    shown = None if Path(source).is_dir() else counted().get(source)
    if layers or json or size or shown is None:
        from shufflenet.nets import cost

        net = _network(source)
        variant = net.spec["name"]
        own_size = net.metadata.preprocessing.size if net.metadata else counted()[variant].size
        whole = cost(net, parse_size(size) if size else own_size)
        if json:
            print_json({"spec": net.spec, **asdict(whole)})
            return
        shown = summary(whole)
        if layers:
            rows = [
                CountedRow(row.name, row.output_shape, row.stride or 1, 1, row.parameters, row.multiply_adds)
                for row in whole.layers
            ]
    headings = ("output size", "channels", "stride", "repeat", "parameters", "multiply-adds")
    print_table((name("layer"), *map(Column, headings)), [_written(row) for row in rows or shown.rows])
    height, width = shown.size
    say(
        f"{source}: {shown.multiply_adds / 1e6:.1f}M multiply-adds, {shown.parameters:,} parameters at {height}x{width}"
    )
    in_paper = printed(variant)
    if in_paper.multiply_adds is not None:
        error = "" if in_paper.error is None else f" at {in_paper.error:g}% top-1 error on ImageNet"
        say(f"the paper prints {in_paper.multiply_adds:g}M{error}")


def _network(source: str) -> "Network":
    """A variant without its weights, which counting does not need, or a checkpoint."""
    import torch

    from shufflenet.deploy.resolve import is_variant, resolve_checkpoint
    from shufflenet.nets import create

    if not is_variant(source):
        return resolve_checkpoint(source)
    with torch.device("meta"):
        return create(source)


def _written(row: "CountedRow") -> tuple[str, ...]:
    channels, *plane = row.output_shape
    return (
        row.name,
        "×".join(map(str, plane)) or "1×1",
        str(channels),
        str(row.stride),
        str(row.repeat),
        f"{row.parameters:,}",
        f"{row.multiply_adds / 1e6:.2f}M",
    )
