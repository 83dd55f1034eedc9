"""Table 8 on the machine at hand: five networks at three sizes, beside the Snapdragon 820's milliseconds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from shufflenet.deploy.bench import bench, provenance
from shufflenet.deploy.parity import untrained
from shufflenet.deploy.runtime import Runtime
from shufflenet.errors import UserError
from shufflenet.nets import cost, create
from shufflenet.paper import published

Times = Mapping[tuple[str, tuple[int, int]], float]  # milliseconds by variant and size
ALEXNET = "alexnet"
SHUFFLENETS = tuple(row.variant for row in published.TABLE8 if row.variant.startswith("shufflenet"))


def measure(runtime: Runtime, *, threads: int, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The record that `paper table 8` reads. Raises UserError if a network cannot be measured."""
    rows: list[dict[str, Any]] = []
    multiply_adds = {
        row.variant: cost(create(row.variant), published.SIZES[0]).multiply_adds for row in published.TABLE8
    }
    for row in published.TABLE8:
        for size in published.SIZES:
            name = f"{row.variant} at {size[0]}×{size[1]}"
            net = untrained(row.variant, size)
            done = bench(
                net,
                [runtime],
                size=size,
                threads=threads,
                rounds=rounds,
                progress=lambda text, name=name: progress(f"{name}: {text}"),
            )
            if done.absent:
                raise UserError(f"{name} was not measured: {done.absent[0].reason}")
            rows += [asdict(measured) for measured in done.rows]
    return {**provenance(), "threads": threads, "rounds": rounds, "multiply_adds": multiply_adds, "rows": rows}


def measured_times(record: Mapping[str, Any]) -> Times:
    return {(row["variant"], tuple(row["size"])): row["median_ms"] for row in record["rows"]}


def printed_times() -> Times:
    return {(row.variant, size): ms for row in published.TABLE8 for size, ms in row.milliseconds.items()}


def time_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Headings, then a row a network: measured milliseconds, and the paper's in brackets."""
    here = measured_times(record)
    rows = [["ms (Snapdragon 820)", "error %", "multiply-adds", *(f"{h}×{w}" for h, w in published.SIZES)]]
    for row in published.TABLE8:
        times = [f"{here[row.variant, size]:.2f} ({ms:g})" for size, ms in row.milliseconds.items()]
        rows.append([row.label, f"{row.error:g}", f"{row.multiply_adds}M", *times])
    return rows


def gain_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Headings, then a row a network: how many times less work than AlexNet, and how many times less time, here and printed."""
    here, printed = measured_times(record), printed_times()
    rows = [["gain over AlexNet (Snapdragon 820)", "in theory", *(f"{h}×{w}" for h, w in published.SIZES)]]
    work = {row.variant: row.multiply_adds for row in published.TABLE8}
    for row in published.TABLE8:
        gains = [
            f"{here[ALEXNET, size] / here[row.variant, size]:.1f}× ({printed[ALEXNET, size] / printed[row.variant, size]:.1f}×)"
            for size in published.SIZES
        ]
        rows.append([row.label, f"{work[ALEXNET] / work[row.variant]:.1f}×", *gains])
    return rows


def time_factor(times: Times, size: tuple[int, int]) -> float:
    """How much time a ShuffleNet of a quarter of the multiply-adds saves: the mean over Table 8's two steps (2× → 1× → 0.5×).

    A step from c to c' multiply-adds that divides the time by f counts as f^(log 4 / log(c/c')).
    """
    rows = sorted((row for row in published.TABLE8 if row.variant in SHUFFLENETS), key=lambda row: row.multiply_adds)
    steps = [
        math.log(times[large.variant, size] / times[small.variant, size])
        / math.log(large.multiply_adds / small.multiply_adds)
        for small, large in pairwise(rows)
    ]
    return 4 ** fmean(steps)


def scaling_lines(record: Mapping[str, Any]) -> list[str]:
    """What the paper concludes from the table (section 4.4), with this machine's figures beside."""
    here, printed = measured_times(record), printed_times()
    small, size = published.TABLE8[0].variant, published.SIZES[0]
    lines = [
        f"{published.TABLE8[0].label} against AlexNet at {size[0]}×{size[1]}: "
        f"{here[ALEXNET, size] / here[small, size]:.1f}× here; the paper says 13×, of 18× in theory"
    ]
    lines += [
        f"each 4× less complexity at {size[0]}×{size[1]}: {time_factor(here, size):.2f}× less time here, "
        f"{time_factor(printed, size):.2f}× by the printed figures; the paper says about 2.6×"
        for size in published.SIZES
    ]
    return [*lines, f"measured on {record['host']}, {record['threads']} thread(s)"]


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Time against multiply-adds at 224×224, here and on the Snapdragon; the dashed line is time in proportion to work."""
    size = published.SIZES[0]
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for label, times, color in (
        ("this machine", measured_times(record), "#c1440e"),
        ("Snapdragon 820 (the paper)", printed_times(), "#5b7c99"),
    ):
        work = [row.multiply_adds for row in published.TABLE8]
        ms = [times[row.variant, size] for row in published.TABLE8]
        axes.scatter(work, ms, color=color, label=label)
        order = sorted(zip(work, ms, published.TABLE8, strict=True), key=lambda point: point[0])
        for x, y, row in order:
            axes.annotate(row.label, (x, y), xytext=(5, -11), textcoords="offset points", fontsize=8, color=color)
        axes.plot(
            work_range := [work[0], max(work)], [ms[0] * x / work[0] for x in work_range], "--", color=color, alpha=0.4
        )
    axes.set(xscale="log", yscale="log", xlabel="multiply-adds, millions", ylabel="milliseconds a picture, one thread")
    axes.set_title(f"Table 8 at {size[0]}×{size[1]}", loc="left")
    axes.margins(x=0.25)
    axes.legend()
    figure.savefig(path, dpi=150)
