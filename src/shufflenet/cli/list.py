"""`shufflenet list`: every network of the paper."""

from typing import Annotated

import typer


def list(  # the verb's name
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    pattern: Annotated[str, typer.Argument(help="Show only names that contain this.")] = "",
) -> None:
    """Show every network of the paper, with the numbers that it prints and ours.

    Examples:

      shufflenet list

      shufflenet list g8
    """
    import rich
    import torch
    from rich.table import Table

    from shufflenet.nets import cost, create, variants

    rows = []
    for name, variant in variants().items():
        if pattern in name:
            with torch.device("meta"):  # counting needs no weights
                counted = cost(create(name), variant.size)
            row = {
                "name": name,
                "multiply_adds": counted.multiply_adds,
                "parameters": counted.parameters,
                "size": variant.size,
                "printed_multiply_adds_millions": variant.printed_multiply_adds,
                "printed_top1_error_percent": variant.printed_error,
                "tables": variant.tables,
                "note": variant.note,
            }
            rows.append(row)
    if json:
        rich.print_json(data=rows)
        return
    table = Table("variant", box=None, header_style="bold")
    for heading in ("multiply-adds", "printed", "parameters", "top-1 error, printed", "tables"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['multiply_adds'] / 1e6:.1f}M",
            _or_dash(row["printed_multiply_adds_millions"], "M"),
            f"{row['parameters']:,}",
            _or_dash(row["printed_top1_error_percent"], "%"),
            ", ".join(map(str, row["tables"])),
        )
    rich.print(table)
    for row in rows:
        if row["note"]:
            rich.print(f"{row['name']}: {row['note']}.")


def _or_dash(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:g}{unit}"
