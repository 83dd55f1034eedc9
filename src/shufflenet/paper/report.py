"""The report: every table, the claims and the plots, as one HTML page, or as Markdown with the plots beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shufflenet.atomic import write_text
from shufflenet.paper import plots as draw
from shufflenet.paper.claims import CONFIDENCE, VERDICTS, Judgement, judgements, tally
from shufflenet.paper.published import TITLES
from shufflenet.paper.results import Results
from shufflenet.paper.tables import table

PLOTS_FOLDER = "paper-plots"
CLAIMS_CAPTION = (
    "Every comparison of Tables 2 to 5: the difference of error that the paper prints, and the one that was measured with its "
    f"{CONFIDENCE:.0%} interval. Above the line at 0 the paper's order shows."
)


@dataclass(frozen=True)
class Plot:
    """An SVG, the name of its file, and the sentence below it."""

    name: str
    caption: str
    svg: str


def make_plots(results: Results) -> list[Plot]:
    """The plots for which there is something to show, in the report's order."""
    measured = [
        Plot(
            f"error-{experiment.name}",
            f"Error against multiply-adds on {experiment.name}, measured; the bars are the seeds' standard deviation.",
            draw.measured_errors(experiment),
        )
        for experiment in results.experiments
        if experiment.records
    ]
    return [
        Plot("error-printed", "Error against multiply-adds, as the paper prints them.", draw.printed_errors()),
        *measured,
        Plot("shuffle", "What the channel shuffle saves (Table 3).", draw.shuffle_gain(results)),
        Plot("claims", CLAIMS_CAPTION, draw.printed_against_measured(judgements(results))),
        Plot("speed", "Time against complexity at the smallest size of Table 8.", draw.speed(results)),
    ]


def _written(judgement: Judgement) -> dict[str, str]:
    interval = "–" if judgement.interval is None else "{:+.2f} to {:+.2f}".format(*judgement.interval)
    return {
        "table": str(judgement.claim.table),
        "comparison": f"{judgement.claim.better[0]} below {judgement.claim.worse[0]}",
        "experiment": judgement.experiment,
        "printed": f"{judgement.claim.difference:+.1f}",
        "measured": f"{judgement.difference:+.2f}",
        "interval": interval,
        "probability": "–" if judgement.probability is None else f"{judgement.probability:.3f}",
        "seeds": str(judgement.seeds),
        "verdict": judgement.verdict,
    }


def _sentence(count: Mapping[str, Any]) -> str:
    verdicts = ", ".join(f"{name} in {count['verdicts'][name]}" for name in VERDICTS if name in count["verdicts"])
    total = sum(count["verdicts"].values())
    return f"Table {count['table']}, “{count['subject']}”, on {count['experiment']}, {total} comparisons: {verdicts}."


def contents(results: Results) -> dict[str, Any]:
    """All that the templates show, as text."""
    judged = judgements(results)
    return {
        "tables": [
            {"view": view, "headings": [heading.text for heading in view.headings], "blocks": view.written()}
            for view in (table(number, results) for number in TITLES)
        ],
        "experiments": [
            _experiment(experiment.records, experiment.name) for experiment in results.experiments if experiment.records
        ],
        "sentences": [_sentence(count) for count in tally(judged)],
        "claims": [_written(judgement) for judgement in judged],
    }


def _experiment(records: tuple[Mapping[str, Any], ...], name: str) -> dict[str, Any]:
    """What is the same for all rows of an experiment, and how each row is repeated."""
    first = records[0]
    keys = ("data", "training_pictures", "test_pictures", "recipe_file", "epochs", "iterations", "batch_size", "stem")
    return {
        "name": name,
        **{key: first[key] for key in keys},
        "hosts": sorted({run["host"] for record in records for run in record["runs"]}),
        "seeds": sorted({len(record["runs"]) for record in records}),
        "rows": [
            {
                "variant": record["variant"],
                "command": record["command"],
                "error": f"{record['top1_error']['mean']:.2f}",
                "seeds": ", ".join(str(run["seed"]) for run in record["runs"]),
                "speed": ", ".join(f"{run['images_per_second']:.0f}" for run in record["runs"]),
                "commits": ", ".join(sorted({run["commit"][:10] for run in record["runs"]})),
            }
            for record in records
        ],
    }


def _templates() -> Environment:
    loader = PackageLoader("shufflenet.paper")
    return Environment(
        loader=loader, undefined=StrictUndefined, autoescape=lambda name: "html" in (name or ""), trim_blocks=True
    )


def to_html(results: Results, plots: list[Plot]) -> str:
    """One self-contained page: no script, no font, no picture from elsewhere."""
    return _templates().get_template("report.html.j2").render(plots=plots, **contents(results))


def to_markdown(results: Results, plots: list[Plot]) -> str:
    """The same for a documentation page. Its plots are files in PLOTS_FOLDER beside it."""
    shown = [{"caption": plot.caption, "path": f"{PLOTS_FOLDER}/{plot.name}.svg"} for plot in plots]
    return _templates().get_template("report.md.j2").render(plots=shown, **contents(results))


def write_report(results: Results, html: Path, markdown: Path | None = None) -> None:
    """Write the page, and the Markdown with its plots if asked for. What was there is a former report and is replaced."""
    plots = make_plots(results)
    write_text(html, to_html(results, plots))
    if markdown:
        write_text(markdown, to_markdown(results, plots))
        for plot in plots:
            write_text(markdown.parent / PLOTS_FOLDER / f"{plot.name}.svg", plot.svg)
