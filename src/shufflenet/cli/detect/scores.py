"""COCO's figures as tables."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shufflenet.detection import DetectionScores


def print_scores(scores: "DetectionScores") -> None:
    """Print what a detector reached on a data set, and for each category."""
    from shufflenet.cli.terminal import Column, name, print_table

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f}"

    figures = {
        "mAP[.5:.95] %": scores.average_precision,
        "AP50": scores.average_precision_50,
        "AP75": scores.average_precision_75,
        "small": scores.average_precision_small,
        "medium": scores.average_precision_medium,
        "large": scores.average_precision_large,
        "recall": scores.average_recall,
    }
    title = f"{scores.pictures:,} pictures, {scores.objects:,} objects"
    print_table([Column(heading) for heading in figures], [[percent(value) for value in figures.values()]], title=title)
    rows = [(category, percent(value)) for category, value in scores.categories.items()]
    print_table((name("category"), Column("mAP[.5:.95] %", essential=True)), rows)
