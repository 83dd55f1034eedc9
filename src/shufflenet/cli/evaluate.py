"""`shufflenet evaluate FOLDER DATA`: how often a trained network is wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shufflenet.training.evaluate import Evaluation


def evaluate(
    folder: Annotated[
        str, typer.Argument(help="A trained network: a folder, a name that ships with the package, or a Hub id.")
    ],
    data: Annotated[str, typer.Argument(help="A data set as for `shufflenet train`; its test part is used.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time, in each process.")] = 128,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 4,
    held_out: Annotated[float, typer.Option(help="As in training, where the data has no test split.")] = 0.0,
    confusion: Annotated[bool, typer.Option("--confusion", help="Show the confusion matrix.")] = False,
    per_class: Annotated[bool, typer.Option("--per-class", help="Show every class.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, per-class figures and confusion matrix included.")
    ] = False,
) -> None:
    """Top-1 and top-5 error by the single centre crop, as in the paper. Several processes: `accelerate launch -m shufflenet evaluate ...`.

    The data set's classes are matched to the network's by name or ImageNet synset, never by position.

    Examples:

      shufflenet evaluate runs/clothes fashion-mnist --per-class

      shufflenet evaluate user/shufflenet /data/imagenetv2-matched-frequency --json
    """
    from accelerate import Accelerator

    from shufflenet.cli.terminal import print_json, say
    from shufflenet.data import describe, open_dataset
    from shufflenet.deploy.resolve import resolve_trained
    from shufflenet.training import evaluate as run

    net = resolve_trained(folder)
    accelerator = Accelerator()
    dataset = open_dataset(data, "test", held_out=held_out)
    if accelerator.is_main_process:
        say(describe(dataset), stderr=True)
    evaluation = run(net, dataset, batch_size=batch_size, workers=workers, accelerator=accelerator)
    if not accelerator.is_main_process:
        return
    if json:
        figures = evaluation.to_json()
        print_json({"network": folder, "data": data, "classes": list(evaluation.classes), **figures})
        return
    if per_class:
        _print_classes(evaluation)
    if confusion:
        _print_confusion(evaluation)
    errors = [f"top-1 error {evaluation.top1_error:.2f}%"]
    if evaluation.says_top5:
        errors.append(f"top-5 error {evaluation.top5_error:.2f}%")
    say(f"{evaluation.pictures:,} pictures: {', '.join(errors)}")


def _print_classes(evaluation: "Evaluation") -> None:
    from shufflenet.cli.terminal import Column, name, print_table

    rows = []
    for row in evaluation.to_json()["per_class"]:
        precision = "–" if row["precision"] is None else f"{row['precision']:.1f}%"
        top5 = (f"{row['top5_error']:.1f}%",) if evaluation.says_top5 else ()
        rows.append((row["class"], str(row["pictures"]), f"{row['top1_error']:.1f}%", *top5, precision))
    top5 = (Column("top-5 error"),) if evaluation.says_top5 else ()
    print_table((name("class"), Column("pictures"), Column("top-1 error"), *top5, Column("precision")), rows)


def _print_confusion(evaluation: "Evaluation") -> None:
    """The classes' numbers stand above the columns, where their names would not fit."""
    from shufflenet.cli.terminal import Column, name, print_table

    rows = [
        (str(number), class_name, *(str(count) if count else "·" for count in row))
        for number, (class_name, row) in enumerate(
            zip(evaluation.classes, evaluation.confusion.tolist(), strict=True), start=1
        )
    ]
    columns = [Column(str(number), essential=True) for number in range(1, len(rows) + 1)]
    print_table((Column("", essential=True), name("label, by what it was taken for →"), *columns), rows)
