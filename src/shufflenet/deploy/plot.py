"""The bench as a picture."""

from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from shufflenet.deploy.bench import Bench, host

OURS, OTHERS, INK, FAINT = "#c1440e", "#5b7c99", "#222222", "#777777"


def plot_bench(done: Bench, path: Path) -> None:
    """Bars of the median time, the fastest on top; a line across the end of each is the middle 80% of its runs."""
    rows = done.rows
    figure = Figure(figsize=(8, 1.5 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    fastest = rows[0].median_ms
    for place, row in enumerate(rows):
        color = OURS if row.runtime == "compiled" else OTHERS
        axes.barh(place, row.median_ms, height=0.62, color=color)
        axes.hlines(place, row.p10_ms, row.p90_ms, color=INK, linewidth=1.5)
        label = f"{row.median_ms:.2f} ms   {row.median_ms / fastest:.1f}×"
        end = (max(row.median_ms, row.p90_ms), place)
        axes.annotate(label, end, xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(rows)), [done.label(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(max(row.median_ms, row.p90_ms) for row in rows))  # the rest holds the labels
    axes.set_xlabel("milliseconds a picture: median, middle 80% of the runs, and times the fastest")
    axes.set_title(done.title, loc="left", pad=22, fontsize=11, fontweight="bold", color=INK)
    origin = f"{host()}, {date.today().isoformat()}"
    axes.annotate(
        origin, (0, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=FAINT
    )
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=150)
