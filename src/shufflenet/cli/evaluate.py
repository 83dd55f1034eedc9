"""`shufflenet evaluate FOLDER DATA`: how often a trained network is wrong."""

from typing import Annotated

import typer


def evaluate(
    folder: Annotated[str, typer.Argument(help="A trained network: a folder or Hub id.")],
    data: Annotated[str, typer.Argument(help="A data set as for `shufflenet train`; its test part is taken.")],
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
    from rich.console import Console
    from rich.table import Table

    from shufflenet.checkpoints import load
    from shufflenet.data import open_dataset
    from shufflenet.training import evaluate as run

    net = load(folder)
    accelerator = Accelerator()
    evaluation = run(
        net,
        open_dataset(data, "test", held_out=held_out),
        batch_size=batch_size,
        workers=workers,
        accelerator=accelerator,
    )
    if not accelerator.is_main_process:
        return
    console = Console(soft_wrap=json)
    figures = evaluation.to_json()
    if json:
        console.print_json(data={"network": folder, "data": data, "classes": list(evaluation.classes), **figures})
        return
    if per_class:
        table = Table("class", box=None, header_style="bold")
        for heading in ("pictures", "top-1 error", "top-5 error", "precision"):
            table.add_column(heading, justify="right")
        for row in figures["per_class"]:
            precision = "–" if row["precision"] is None else f"{row['precision']:.1f}%"
            table.add_row(
                row["class"], str(row["pictures"]), f"{row['top1_error']:.1f}%", f"{row['top5_error']:.1f}%", precision
            )
        console.print(table)
    if confusion:
        table = Table("label", *(f"{name[:11]}" for name in evaluation.classes), box=None, header_style="bold")
        for name, row in zip(evaluation.classes, evaluation.confusion.tolist(), strict=True):
            table.add_row(name, *(str(count) if count else "·" for count in row))
        console.print(table)
    console.print(
        f"{evaluation.pictures} pictures: top-1 error {evaluation.top1_error:.2f}%, top-5 error {evaluation.top5_error:.2f}%",
        highlight=False,
    )
