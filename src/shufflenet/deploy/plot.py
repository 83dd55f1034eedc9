"""The bench as a picture."""

from pathlib import Path

from matplotlib.figure import Figure

from shufflenet.deploy.bench import Bench


def plot_bench(done: Bench, path: Path) -> None:
    """Bars of the median time, the fastest on top, with the middle 80% as a line across the end of each."""
    rows = done.rows[::-1]
    figure = Figure(figsize=(8, 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    medians = [row.median_ms for row in rows]
    spread = [[row.median_ms - row.p10_ms for row in rows], [row.p90_ms - row.median_ms for row in rows]]
    colors = ["#c1440e" if row.runtime == "compiled" else "#5b7c99" for row in rows]
    bars = axes.barh(
        [f"{row.title} {row.version}" for row in rows], medians, xerr=spread, color=colors, ecolor="#333333"
    )
    labels = [f"{ms:.2f} ms" for ms in medians]
    axes.bar_label(bars, labels, padding=6)
    axes.margins(x=0.18)
    axes.set_xlabel(f"milliseconds a picture, {done.threads} thread(s): median, and the middle 80% of the runs")
    axes.set_title(f"{done.variant}, {done.size[0]}×{done.size[1]}", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
