"""`shufflenet list`: every network of the paper, and those that ship with trained weights."""

from typing import Annotated

import typer


# The verb is called so.
def list(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    pattern: Annotated[str, typer.Argument(help="Show only names that contain this.")] = "",
) -> None:
    """Show every network of the paper, with the numbers that it prints and ours, and the trained networks that ship.

    Examples:

      shufflenet list

      shufflenet list g8
    """
    from shufflenet import pretrained
    from shufflenet.cli.terminal import Column, name, print_json, print_table, say
    from shufflenet.errors import UserError
    from shufflenet.paper.counted import counted
    from shufflenet.paper.published import NOTES, printed

    found = {variant: cost for variant, cost in counted().items() if pattern in variant}
    trained = {shipped: pretrained.config(shipped) for shipped in pretrained.names() if pattern in shipped}
    if not found and not trained:
        raise UserError(f"no network's name contains {pattern!r}; `shufflenet list` shows all")
    if json:
        print_json(
            [
                {
                    "name": variant,
                    "multiply_adds": cost.multiply_adds,
                    "parameters": cost.parameters,
                    "size": cost.size,
                    "printed_multiply_adds_millions": printed(variant).multiply_adds,
                    "printed_top1_error_percent": printed(variant).error,
                    "tables": printed(variant).tables,
                    "note": NOTES.get(variant, ""),
                    "trained": [
                        {"name": shipped, "top1_error_percent": config["training"]["top1_error"]}
                        for shipped, config in trained.items()
                        if config["architecture"]["name"] == variant
                    ],
                }
                for variant, cost in found.items()
            ]
        )
        return
    headings = ("multiply-adds", "printed", "parameters", "top-1 error, printed", "tables")
    rows = [
        (
            variant,
            f"{cost.multiply_adds / 1e6:.1f}M",
            _or_dash(printed(variant).multiply_adds, "M"),
            f"{cost.parameters:,}",
            _or_dash(printed(variant).error, "%"),
            ", ".join(map(str, printed(variant).tables)),
        )
        for variant, cost in found.items()
    ]
    if rows:
        print_table((name("variant"), *map(Column, headings)), rows)
    for variant in found:
        if variant in NOTES:
            say(f"{variant}: {NOTES[variant]}.")
    if rows and trained:
        say("")
    if trained:
        print_table(
            (name("trained weights that ship"), *map(Column, ("input", "classes", "top-1 error"))),
            [
                (
                    shipped,
                    "×".join(map(str, config["preprocessing"]["size"])),
                    f"{config['architecture']['num_classes']}",
                    f"{config['training']['top1_error']:.1f}%",
                )
                for shipped, config in trained.items()
            ],
        )


def _or_dash(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:g}{unit}"
