"""A table as plain data, and how its cells are written: for the terminal, Markdown, HTML and JSON alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shufflenet.paper import published
from shufflenet.paper.results import Errors

NOT_RUN = "not run"
NOT_PRINTED = "–"


@dataclass(frozen=True)
class Heading:
    """A column: what stands above it, and how its values are written."""

    text: str
    write: Callable[[Any], str] = str


@dataclass(frozen=True)
class Table:
    """A table as the report shows it. `blocks` are rows of plain values, a value for each heading; `notes` are whole sentences."""

    number: int
    headings: tuple[Heading, ...]
    blocks: tuple[tuple[tuple[Any, ...], ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"Table {self.number}. {published.TITLES[self.number]}"

    def written(self) -> list[list[list[str]]]:
        """The blocks as text."""
        return [
            [[heading.write(value) for heading, value in zip(self.headings, row, strict=True)] for row in block]
            for block in self.blocks
        ]

    def to_json(self) -> dict[str, Any]:
        rows = [
            {heading.text: plain(value) for heading, value in zip(self.headings, row, strict=True)}
            for block in self.blocks
            for row in block
        ]
        return {"table": self.number, "title": self.title, "rows": rows, "notes": self.notes}


def plain(value: Any) -> Any:
    """A cell's value as JSON has it."""
    if isinstance(value, Errors):
        return {"mean": value.mean, "deviation": value.deviation, "seeds": list(value.by_seed)}
    return value


def write_errors(errors: Errors | None) -> str:
    if errors is None:
        return NOT_RUN
    if errors.deviation is None:
        return f"{errors.mean:.2f} (one seed)"
    return f"{errors.mean:.2f} ± {errors.deviation:.2f}"


def printed(unit: str = "", digits: int = 1) -> Callable[[float | None], str]:
    return lambda value: NOT_PRINTED if value is None else f"{value:.{digits}f}{unit}"


def measured(digits: int) -> Callable[[float | None], str]:
    return lambda value: NOT_RUN if value is None else f"{value:.{digits}f}"


PRINTED_COMPLEXITY = Heading("multiply-adds, printed", printed("M", 0))
COUNTED_COMPLEXITY = Heading("multiply-adds, counted", lambda count: f"{count / 1e6:.1f}M")
PRINTED_ERROR = Heading("ImageNet error %, printed", printed())
