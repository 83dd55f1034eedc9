"""Tables 7 and 8, whose measured columns come from the detector's runs and the bench's."""

from collections.abc import Mapping
from typing import Any

from shufflenet.paper import published
from shufflenet.paper.results import Results
from shufflenet.paper.view import PRINTED_COMPLEXITY, PRINTED_ERROR, Heading, Table, measured, printed

COCO = "coco"


def _average_precision(results: Results, dataset: str, variant: str, short_side: int) -> float | None:
    """mAP[.5:.95] in % of a run; None if there was none."""
    for run in results.detection:
        if (run["dataset"], run["variant"], run["short_side"]) == (dataset, variant, short_side):
            return 100 * run["average_precision"]
    return None


def detection(results: Results) -> Table:
    """Table 7: the paper's rows on COCO, then the detectors that were trained here on other data."""
    headings = (
        Heading("backbone"),
        Heading("short side"),
        Heading("data"),
        Heading(f"{published.AVERAGE_PRECISION}, printed", printed()),
        Heading(f"{published.AVERAGE_PRECISION}, measured", measured(1)),
    )
    coco = tuple(
        (row.label, short_side, "COCO", value, _average_precision(results, COCO, row.variant, short_side))
        for row in published.TABLE7
        for short_side, value in row.map_by_short_side.items()
    )
    others = tuple(
        (
            run["variant"],
            run["short_side"],
            f"{run['dataset']}, {run['detector']['layout']}",
            None,
            100 * run["average_precision"],
        )
        for run in results.detection
        if run["dataset"] != COCO
    )
    return Table(7, headings, (coco, others) if others else (coco,))


def milliseconds(speed: Mapping[str, Any] | None, variant: str, size: tuple[int, int]) -> float | None:
    """Median time of a network in the bench's record; None where it was not run."""
    for row in speed["rows"] if speed else ():
        if row["variant"] == variant and tuple(row["size"]) == size:
            return row["median_ms"]
    return None


COMPILED_ALEXNET = (
    "In compiled C, AlexNet's 3×3 and 5×5 layers use Winograd's algorithm (docs/compiler.md), which needs a third to a sixth "
    "of the multiplications that are counted. No other network of this table has such layers."
)


def origin(speed: Mapping[str, Any]) -> str:
    """By what the bench's record was measured, and where."""
    threads = "1 thread" if speed["threads"] == 1 else f"{speed['threads']} threads"
    return f"{speed['runtime']} on {speed['host']}, {threads}"


def remarks(speed: Mapping[str, Any]) -> tuple[str, ...]:
    """What who reads the bench's record must know, in whole sentences."""
    return (COMPILED_ALEXNET,) if speed["runtime"].startswith("compiled C") else ()


def speed(results: Results) -> Table:
    """Table 8: the Snapdragon 820's milliseconds, those of the bench's record, and each network's gain over AlexNet."""
    headings = [Heading("network"), PRINTED_ERROR, PRINTED_COMPLEXITY]
    for height, width in published.SIZES:
        headings.append(Heading(f"{height}×{width} ms, printed", printed()))
        headings.append(Heading(f"{height}×{width} ms, measured", measured(2)))
    first = published.SIZES[0]
    headings.append(Heading("gain over AlexNet by multiply-adds", printed("×")))
    headings.append(Heading("by time, printed", printed("×")))
    headings.append(Heading("by time, measured", _gain))
    alexnet = next(row for row in published.TABLE8 if row.variant == "alexnet")
    alexnet_here = milliseconds(results.speed, "alexnet", first)
    rows = []
    for row in published.TABLE8:
        cells: list[Any] = [row.label, row.error, row.multiply_adds]
        for size, value in row.milliseconds.items():
            cells += [value, milliseconds(results.speed, row.variant, size)]
        here = milliseconds(results.speed, row.variant, first)
        cells.append(alexnet.multiply_adds / row.multiply_adds)
        cells.append(alexnet.milliseconds[first] / row.milliseconds[first])
        cells.append(alexnet_here / here if alexnet_here and here else None)
        rows.append(tuple(cells))
    notes = (f"Measured: {origin(results.speed)}.", *remarks(results.speed)) if results.speed else ()
    return Table(8, tuple(headings), (tuple(rows),), notes)


def _gain(value: float | None) -> str:
    return measured(1)(value) if value is None else f"{value:.1f}×"
