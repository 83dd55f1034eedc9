"""report.html: what became of a run, in one file that needs nothing else: curves, confusion, mistakes, recipe, environment."""

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from shufflenet.data import PictureDataset
from shufflenet.training.evaluate import Evaluation
from shufflenet.training.loop import RunProgress

MISTAKE_SIDE = 112  # pixels, of a picture's shorter side
MOST_CLASSES_DRAWN = 60  # beyond that a confusion matrix is a grey square; its largest entries are listed instead


def report(record: Mapping[str, Any], progress: RunProgress, evaluation: Evaluation, dataset: PictureDataset) -> str:
    """The page, as HTML. `record` is result.json's; `dataset` is what `evaluation` was made on, for the pictures of its mistakes."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(
        files("shufflenet.training").joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    mistakes = [
        {
            "picture": _picture(dataset, mistake.index),
            "name": dataset.name(mistake.index),
            "label": evaluation.classes[mistake.label],
            "predicted": evaluation.classes[mistake.predicted],
            "confidence": mistake.confidence,
        }
        for mistake in evaluation.mistakes
    ]
    figures = evaluation.to_json()
    return template.render(
        record=record,
        figures=figures,
        recipe=_flat(record["recipe"]),
        surroundings=record["environment"],
        curves=_curves(progress),
        confusion=_confusion(evaluation) if len(evaluation.classes) <= MOST_CLASSES_DRAWN else None,
        confusions=_largest_confusions(evaluation),
        per_class=sorted(figures["per_class"], key=lambda row: -row["top1_error"]),
        mistakes=mistakes,
    )


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _curves(progress: RunProgress) -> str:
    """Training loss and learning rate, and the test figures, over the iterations."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    loss, error, rate = figure.subplots(1, 3)
    iterations = [point["iteration"] for point in progress.curve]
    tests = [evaluation["iteration"] for evaluation in progress.evaluations]
    loss.plot(iterations, [point["loss"] for point in progress.curve], color="#9ab", linewidth=0.8, label="training")
    loss.plot(
        tests,
        [evaluation["loss"] for evaluation in progress.evaluations],
        "o-",
        color="#135",
        markersize=3,
        label="test",
    )
    loss.set_title("loss")
    error.plot(iterations, [point["error"] for point in progress.curve], color="#9ab", linewidth=0.8, label="training")
    error.plot(
        tests, [point["top1_error"] for point in progress.evaluations], "o-", color="#135", markersize=3, label="test"
    )
    error.set_title("top-1 error, %")
    rate.plot(iterations, [point["learning_rate"] for point in progress.curve], color="#135", linewidth=0.8)
    rate.set_title("learning rate")
    for axes in (loss, error, rate):
        axes.set_xlabel("iteration")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
    loss.legend(frameon=False)
    error.legend(frameon=False)
    return _svg(figure)


def _confusion(evaluation: Evaluation) -> str:
    """The confusion matrix, each row in % of its label's pictures."""
    classes = len(evaluation.classes)
    side = 2.5 + 0.32 * classes
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = 100 * evaluation.confusion / evaluation.confusion.sum(1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(classes), evaluation.classes, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(classes), evaluation.classes, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if classes <= 20:
        for row in range(classes):
            for column in range(classes):
                if shares[row, column] >= 0.5:
                    color = "white" if shares[row, column] > 50 else "black"
                    axes.text(
                        column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color
                    )
    return _svg(figure)


def _largest_confusions(evaluation: Evaluation, most: int = 12) -> list[dict[str, Any]]:
    confusion = evaluation.confusion.copy()
    confusion[range(len(confusion)), range(len(confusion))] = 0
    order = confusion.argsort(axis=None)[::-1][:most]
    rows, columns = divmod(order, len(confusion))
    return [
        {
            "label": evaluation.classes[row],
            "predicted": evaluation.classes[column],
            "pictures": int(confusion[row, column]),
        }
        for row, column in zip(rows, columns, strict=True)
        if confusion[row, column]
    ]


def _picture(dataset: PictureDataset, index: int) -> str:
    """A picture of the data set as a data URL."""
    picture, _ = dataset[index]
    scale = MISTAKE_SIDE / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    # Pictures of 28 pixels stay as square as they are; photographs are scaled down smoothly.
    small = picture.convert("RGB").resize(size, 0 if scale > 1 else 1)
    data = io.BytesIO()
    small.save(data, "PNG" if scale > 1 else "JPEG")
    kind = "png" if scale > 1 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
