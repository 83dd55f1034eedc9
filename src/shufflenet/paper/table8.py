"""Table 8 on the machine at hand: five networks at three sizes, and what the paper concludes from them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from shufflenet.deploy.bench import bench, provenance
from shufflenet.deploy.parity import untrained
from shufflenet.deploy.runtime import Runtime
from shufflenet.errors import UserError
from shufflenet.nets import cost, create
from shufflenet.paper import published
from shufflenet.paper.measured_tables import ALEXNET, Times, gain, measured_times, origin, printed_times

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
    return {
        **provenance(),
        "runtime": f"{runtime.title} {runtime.version}",
        "threads": threads,
        "rounds": rounds,
        "multiply_adds": multiply_adds,
        "rows": rows,
    }


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
        f"{gain(here, small, size):.1f}× here; the paper says 13×, of 18× in theory"
    ]
    lines += [
        f"each 4× less complexity at {size[0]}×{size[1]}: {time_factor(here, size):.2f}× less time here, "
        f"{time_factor(printed, size):.2f}× by the printed figures; the paper says about 2.6×"
        for size in published.SIZES
    ]
    return lines


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Time against multiply-adds at each size, here and on the Snapdragon; the dashed line is time in proportion to work."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(published.SIZES))
    work = {row.variant: row.multiply_adds for row in published.TABLE8}
    for axes, size in zip(panels, published.SIZES, strict=True):
        for label, times, color, marker in (
            ("Snapdragon 820 (the paper)", printed_times(), "#5b7c99", "s"),
            ("measured here", measured_times(record), "#c1440e", "o"),
        ):
            axes.scatter(work.values(), [times[name, size] for name in work], color=color, marker=marker, label=label)
            ends = (work[SHUFFLENETS[0]], work[ALEXNET])
            axes.plot(
                ends, [times[SHUFFLENETS[0], size] * x / ends[0] for x in ends], "--", color=color, alpha=0.4, zorder=0
            )
        for row in published.TABLE8:
            # MobileNet and ShuffleNet 2×, AlexNet and MobileNet are close neighbours: names stand at two heights.
            above = row.variant in (ALEXNET, *SHUFFLENETS)
            place = (row.multiply_adds, row.milliseconds[size])
            axes.annotate(
                row.label.removeprefix("ShuffleNet ")
                .removesuffix(" (g = 3)")
                .removeprefix("1.0 ")
                .removesuffix("-224"),
                place,
                xytext=(0, 7) if above else (0, -14),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set(xscale="log", yscale="log", xlabel="multiply-adds at 224×224, millions")
        axes.set_title(f"{size[0]}×{size[1]}", loc="left")
        axes.set_xticks(sorted(work[name] for name in SHUFFLENETS))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.margins(x=0.2, y=0.15)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", which="minor", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("milliseconds a picture")
    panels[0].legend(fontsize=8, loc="upper left")
    title = f"Table 8: ShuffleNet 0.5×, 1×, 2×, AlexNet and MobileNet. Here: {origin(record)}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.savefig(path, dpi=150)
