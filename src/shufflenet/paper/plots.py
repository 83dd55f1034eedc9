"""The report's plots, each as one SVG: the same input gives the same bytes."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from shufflenet.nets import ShuffleNetConfig, variants
from shufflenet.paper import published
from shufflenet.paper.claims import Judgement
from shufflenet.paper.measured_tables import measured_times, origin
from shufflenet.paper.results import ExperimentResults, Results
from shufflenet.paper.tables import counted, errors_of

RIVALS = {
    "vgg_like": "VGG-like",
    "resnet_like": "ResNet",
    "resnext_like": "ResNeXt",
    "mobilenet": "MobileNet",
    "vgg16": "VGG-16",
    "alexnet": "AlexNet",
    "googlenet": "GoogLeNet",
    "squeezenet": "SqueezeNet",
    "pvanet": "PVANET",
}
MARKERS = "osD^vP*Xh<>pd8"


def family(variant: str) -> str:
    """What a network is a size of: the plots join the sizes of a family by a line."""
    config = variants()[variant].config
    if isinstance(config, ShuffleNetConfig):
        depth = ", shallow" if "shallow" in variant else ", SE" if config.squeeze_reduction else ""
        return f"ShuffleNet g = {config.groups}" + depth + ("" if config.shuffle else ", no shuffle")
    return next(name for prefix, name in RIVALS.items() if variant.startswith(prefix))


def _printed_points() -> dict[str, tuple[float, float]]:
    """Variant → (multiply-adds in millions, ImageNet error %) of every network for which the paper prints an error."""
    rows = [row for blocks in published.BLOCKS.values() for block in blocks for row in block]
    return {row.variant: (row.multiply_adds, row.error) for row in [*rows, published.PVANET] if row.error is not None}


@contextmanager
def _style() -> Iterator[None]:
    # A fixed salt makes ids, and so the file, the same each time; text stays text.
    svg: dict[Any, Any] = {"svg.hashsalt": "shufflenet", "svg.fonttype": "none"}
    look: dict[Any, Any] = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
    }
    with matplotlib.rc_context({**svg, **look}):
        yield


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(os.linesep, "\n")


def _canvas(height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, height))
    return figure, figure.add_subplot()


def _families(axes: Axes, points: Iterable[tuple[str, float, float, float | None]]) -> None:
    """Points (variant, multiply-adds in millions, error %, deviation), one line and marker a family."""
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for variant, multiply_adds, error, deviation in points:
        lines.setdefault(family(variant), []).append((multiply_adds, error, deviation or 0.0))
    for number, name in enumerate(sorted(lines, key=lambda name: (not name.startswith("ShuffleNet"), name))):
        x, y, spread = zip(*sorted(lines[name]), strict=True)
        style = {
            "marker": MARKERS[number % len(MARKERS)],
            "color": f"C{number % 10}",
            "markersize": 5,
            "linewidth": 1.2,
        }
        if not name.startswith("ShuffleNet"):
            style["linestyle"] = "--"
        axes.errorbar(x, y, yerr=spread if any(spread) else None, capsize=3, label=name, **style)
    every_x = [x for line in lines.values() for x, _, _ in line]
    if max(every_x) > 3 * min(every_x):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("multiply-adds, millions")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def printed_errors() -> str:
    """Error against multiply-adds as the paper prints them, for every family."""
    with _style():
        figure, axes = _canvas(4.6)
        _families(axes, ((variant, *point, None) for variant, point in _printed_points().items()))
        axes.set_ylabel("ImageNet top-1 error %, printed")
        return _svg(figure)


def measured_errors(experiment: ExperimentResults) -> str:
    """Error against multiply-adds as measured in an experiment, with the seeds' deviation."""
    with _style():
        figure, axes = _canvas()
        found = [errors for record in experiment.records if (errors := experiment.errors(record["variant"]))]
        _families(
            axes, ((errors.variant, errors.multiply_adds / 1e6, errors.mean, errors.deviation) for errors in found)
        )
        axes.set_ylabel(f"{experiment.title} top-1 error %, measured")
        return _svg(figure)


def shuffle_gain(results: Results) -> str:
    """Table 3's Δ: points of error that the channel shuffle saves, printed and measured."""
    with _style():
        figure, axes = _canvas(3.2)
        rows = published.TABLE3
        bars = [("ImageNet, printed", [row.difference for row in rows])]
        for experiment in filter(lambda experiment: experiment.records, results.experiments):
            differences = []
            for row in rows:
                without, with_shuffle = (
                    errors_of(experiment, f"{row.variant}_noshuffle"),
                    errors_of(experiment, row.variant),
                )
                differences.append(without.mean - with_shuffle.mean if without and with_shuffle else float("nan"))
            bars.append((f"{experiment.title}, measured", differences))
        width = 0.8 / len(bars)
        for number, (name, heights) in enumerate(bars):
            places = [place + (number - (len(bars) - 1) / 2) * width for place in range(len(rows))]
            axes.bar(places, heights, width, label=name, color=f"C{number}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(rows)), [row.label.replace("ShuffleNet ", "").replace(" (", "\n(") for row in rows])
        axes.set_ylabel("Δ error by shuffle, points")
        axes.legend(fontsize=7)
        return _svg(figure)


def printed_against_measured(judged: Sequence[Judgement]) -> str:
    """Printed Δ against measured Δ of every comparison that was run, in points of error, with its interval where there is one."""
    experiments = list(dict.fromkeys(judgement.experiment for judgement in judged))
    with _style():
        figure = Figure(figsize=(7.2, 3.6))
        panels = figure.subplots(1, max(1, len(experiments)), squeeze=False)[0]
        for axes, experiment in zip(panels, experiments, strict=False):
            found = [judgement for judgement in judged if judgement.experiment == experiment]
            for number, table in enumerate(sorted({judgement.claim.table for judgement in found})):
                rows = [judgement for judgement in found if judgement.claim.table == table]
                middle = [judgement.difference or 0.0 for judgement in rows]
                ends = [judgement.interval or (mean, mean) for judgement, mean in zip(rows, middle, strict=True)]
                axes.errorbar(
                    [judgement.claim.difference for judgement in rows],
                    middle,
                    yerr=[
                        [mean - low for mean, (low, _) in zip(middle, ends, strict=True)],
                        [high - mean for mean, (_, high) in zip(middle, ends, strict=True)],
                    ],
                    fmt=MARKERS[number],
                    color=f"C{number}",
                    markersize=5,
                    capsize=2,
                    label=f"Table {table}",
                )
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set_title(experiment, fontsize=9)
            axes.set_xlabel("Δ printed (ImageNet), points")
            axes.legend(fontsize=7)
        panels[0].set_ylabel("Δ measured, points")
        figure.tight_layout()
        return _svg(figure)


def speed(results: Results) -> str:
    """Time of one picture against multiply-adds (Table 8), 224×224: the phone of the paper, and the machine of the bench's record."""
    with _style():
        figure, axes = _canvas(3.6)
        size = published.SIZES[0]
        phone = [(counted(row.variant) / 1e6, row.milliseconds[size], row.label) for row in published.TABLE8]
        axes.scatter([x for x, _, _ in phone], [y for _, y, _ in phone], marker="s", label="Snapdragon 820, printed")
        for x, y, label in phone:
            # ShuffleNet 2× and its rivals lie close together.
            place, side = ((0, -13), "center") if label.startswith("ShuffleNet") else ((7, -2), "left")
            axes.annotate(label, (x, y), textcoords="offset points", xytext=place, fontsize=7, ha=side)
        times = measured_times(results.speed)
        here = [
            (counted(row.variant) / 1e6, time)
            for row in published.TABLE8
            if (time := times.get((row.variant, size))) is not None
        ]
        if results.speed and here:
            axes.scatter(*zip(*here, strict=True), marker="o", label=f"{origin(results.speed)}, measured")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([row.multiply_adds for row in published.TABLE8[:3]])
        axes.margins(x=0.15, y=0.2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("multiply-adds, millions")
        axes.set_ylabel("ms a picture, one thread")
        axes.legend(fontsize=7, loc="upper left")
        return _svg(figure)
