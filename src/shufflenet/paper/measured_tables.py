"""Tables 7 and 8, whose measured columns come from the detector's runs and the bench's."""

from collections.abc import Mapping
from typing import Any

from shufflenet.paper import published
from shufflenet.paper.results import Results
from shufflenet.paper.view import PRINTED_COMPLEXITY, PRINTED_ERROR, Heading, Table, measured, printed

COCO = "coco"
ALEXNET = "alexnet"
# Milliseconds by variant and size.
Times = Mapping[tuple[str, tuple[int, int]], float]


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


def measured_times(speed: Mapping[str, Any] | None) -> Times:
    """Median times in the bench's record; empty without one."""
    return {(row["variant"], tuple(row["size"])): row["median_ms"] for row in (speed["rows"] if speed else ())}


def printed_times() -> Times:
    """The Snapdragon 820's."""
    return {(row.variant, size): ms for row in published.TABLE8 for size, ms in row.milliseconds.items()}


def gain(times: Times, variant: str, size: tuple[int, int]) -> float | None:
    """How many times faster than AlexNet a network is; None where one of them was not run."""
    own, alexnet = times.get((variant, size)), times.get((ALEXNET, size))
    return alexnet / own if own and alexnet else None


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
    headings = (
        Heading("network"),
        Heading("picture"),
        PRINTED_ERROR,
        PRINTED_COMPLEXITY,
        Heading("ms, printed", printed()),
        Heading("ms, measured", measured(2)),
        Heading("gain over AlexNet by multiply-adds", printed("×")),
        Heading("by time, printed", printed("×")),
        Heading("by time, measured", _gain),
    )
    alexnet = next(row for row in published.TABLE8 if row.variant == ALEXNET)
    phone, here = printed_times(), measured_times(results.speed)
    blocks = [
        tuple(
            (
                *(row.label, f"{size[0]}×{size[1]}", row.error, row.multiply_adds),
                *(phone[row.variant, size], here.get((row.variant, size))),
                alexnet.multiply_adds / row.multiply_adds,
                *(gain(times, row.variant, size) for times in (phone, here)),
            )
            for row in published.TABLE8
        )
        for size in published.SIZES
    ]
    notes = (f"Measured: {origin(results.speed)}.", *remarks(results.speed)) if results.speed else ()
    return Table(8, headings, tuple(blocks), notes)


def _gain(value: float | None) -> str:
    return measured(1)(value) if value is None else f"{value:.1f}×"
