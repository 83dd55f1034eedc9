"""How every verb prints: text as it is, square brackets and all, and tables whose names are never cut."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table

WIDE = 100_000


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that takes nothing in a text for markup, an emoji's name or something to colour. Lines are not wrapped."""
    # rich heeds a width on every terminal only beside a height.
    height = None if width is None else 25
    return Console(
        stderr=stderr, width=width, height=height, markup=False, emoji=False, highlight=False, soft_wrap=True
    )


def say(text: str, *, stderr: bool = False) -> None:
    """Print one line."""
    console(stderr=stderr).print(text)


def say_error(text: str) -> None:
    """Print a sentence on what went wrong to stderr."""
    out = console(stderr=True)
    out.print("error:", style="red", end=" ")
    out.print(text)


def print_json(data: Any) -> None:
    """Print data as JSON, indented, and coloured on a terminal."""
    console().print_json(data=data)


@dataclass(frozen=True)
class Column:
    """A column of a table: `essential` ones stay, others are left out where the terminal is too narrow, the rightmost first."""

    heading: str
    right: bool = True
    essential: bool = False


def name(heading: str) -> Column:
    """A column of names, which stands at the left, and always."""
    return Column(heading, right=False, essential=True)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows as a table. Where it is wider than the terminal, whole columns go, and a line says which; no cell is cut.

    What is piped to a file or another program has all columns, on lines as long as they need.
    """
    out = console()
    shown = list(range(len(columns)))
    table = _table(columns, rows, shown, title)
    if out.is_terminal:
        while _width(table) > out.width and (spare := [number for number in shown if not columns[number].essential]):
            shown.remove(spare[-1])
            table = _table(columns, rows, shown, title)
    console(width=max(out.width, _width(table))).print(table, crop=False)
    if left_out := [column.heading for number, column in enumerate(columns) if number not in shown]:
        say(f"left out, for want of room: {', '.join(left_out)}; a wider terminal or --json shows all", stderr=True)


def print_whole(renderable: RenderableType) -> None:
    """Print a table as it was made: columns that may wrap do, on lines of at least the width at which nothing is cut."""
    out, wide = console(), console(width=WIDE)
    measured = Measurement.get(wide, wide.options, renderable)
    width = max(out.width, measured.minimum) if out.is_terminal else measured.maximum
    console(width=width).print(renderable, crop=False, no_wrap=False, soft_wrap=False)


def blocks_table(title: str, headings: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]]) -> Table:
    """A table of the paper: rows in blocks, headings that may wrap."""
    table = Table(title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", vertical="bottom", no_wrap=not index)
    for block in blocks:
        for row in block:
            table.add_row(*row)
        table.add_section()
    return table


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], title: str | None) -> Table:
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    for number in shown:
        table.add_column(columns[number].heading, justify="right" if columns[number].right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table


def _width(table: Table) -> int:
    wide = console(width=WIDE)
    return Measurement.get(wide, wide.options, table).maximum


def print_what_bytes_allow() -> None:
    """Let names that are not UTF-8 come out as the bytes that they are, instead of ending in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
