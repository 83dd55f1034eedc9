"""How each cell of the paper's tables is obtained: printed (published.py), counted (from the networks), or measured (results.py)."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from shufflenet.errors import UserError
from shufflenet.nets import variants
from shufflenet.paper import published
from shufflenet.paper.counted import counted as counted_costs
from shufflenet.paper.measured_tables import detection, speed
from shufflenet.paper.results import Errors, ExperimentResults, Results
from shufflenet.paper.view import (
    COUNTED_COMPLEXITY,
    PRINTED_COMPLEXITY,
    PRINTED_ERROR,
    Heading,
    Table,
    measured,
    printed,
    write_errors,
)


def counted(variant: str) -> int:
    """Multiply-adds of a network at the size that the paper's tables are about."""
    return counted_costs()[variant].multiply_adds


@cache
def canonical(variant: str) -> str:
    """The first name of a network: Xception-like is ShuffleNet with one group, and is trained once."""
    config = variants()[variant].config
    return next(name for name, other in variants().items() if other.config == config)


def errors_of(experiment: ExperimentResults, variant: str) -> Errors | None:
    return experiment.errors(canonical(variant))


def _experiment_headings(results: Results) -> tuple[Heading, ...]:
    return tuple(Heading(f"{experiment.title} error %, measured", write_errors) for experiment in results.experiments)


def _architecture(_: Results) -> Table:
    headings = (
        Heading("groups"),
        *(Heading(f"stage {stage} channels") for stage in (2, 3, 4)),
        PRINTED_COMPLEXITY,
        COUNTED_COMPLEXITY,
    )
    rows = tuple(
        (column.groups, *column.stage_channels, column.multiply_adds, counted(f"shufflenet_x1_0_g{column.groups}"))
        for column in published.TABLE1
    )
    return Table(1, headings, (rows,))


def _complexity_and_error(number: int, results: Results) -> Table:
    headings = (
        Heading("network"),
        PRINTED_COMPLEXITY,
        COUNTED_COMPLEXITY,
        PRINTED_ERROR,
        *_experiment_headings(results),
    )
    blocks = (*published.BLOCKS[number], (published.PVANET,)) if number == 6 else published.BLOCKS[number]
    view = tuple(
        tuple(
            (
                row.label,
                row.multiply_adds,
                counted(row.variant),
                row.error,
                *(errors_of(experiment, row.variant) for experiment in results.experiments),
            )
            for row in block
        )
        for block in blocks
    )
    return Table(number, headings, view, _notes(row.variant for block in blocks for row in block))


def _notes(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}: {published.NOTES[name]}." for name in names if name in published.NOTES)


def _pair(data: str, how: str, error: Callable[[Any], str], difference: Callable[[Any], str]) -> list[Heading]:
    without = Heading(f"{data} error % without shuffle, {how}", error)
    return [without, Heading(f"{data} with shuffle, {how}", error), Heading(f"{data} Δ, {how}", difference)]


def _shuffle(results: Results) -> Table:
    headings = [Heading("network"), *_pair("ImageNet", "printed", printed(), printed())]
    for experiment in results.experiments:
        headings += _pair(experiment.title, "measured", write_errors, measured(2))
    rows = []
    for row in published.TABLE3:
        cells: list[Any] = [row.label, row.error_without, row.error_with, row.difference]
        for experiment in results.experiments:
            without, with_shuffle = (
                errors_of(experiment, f"{row.variant}_noshuffle"),
                errors_of(experiment, row.variant),
            )
            difference = without.mean - with_shuffle.mean if without and with_shuffle else None
            cells += [without, with_shuffle, difference]
        rows.append(tuple(cells))
    blocks = tuple(tuple(rows[start : start + 2]) for start in range(0, len(rows), 2))
    return Table(3, tuple(headings), blocks)


def table(number: int, results: Results) -> Table:
    """Table `number` of the paper with what `results` holds. Raises UserError for a number that the paper has not."""
    match number:
        case 1:
            return _architecture(results)
        case 3:
            return _shuffle(results)
        case 2 | 4 | 5 | 6:
            return _complexity_and_error(number, results)
        case 7:
            return detection(results)
        case 8:
            return speed(results)
    raise UserError(f"the paper has no table {number}; give 1 to 8")
