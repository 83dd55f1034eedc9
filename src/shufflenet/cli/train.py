"""`shufflenet train DATA`: a network that learns from pictures."""

from typing import Annotated, Literal

import typer


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder (train/ and val/, or class folders), shards, hf:NAME, fashion-mnist, fashion-mnist-7k."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="The run folder.")],
    variant: Annotated[str, typer.Option(help="A variant (see `shufflenet list`).")] = "shufflenet_x1_0_g3",
    weights: Annotated[
        str | None,
        typer.Option("--from", help="Start from this trained network (a folder or Hub id) instead of a variant."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="paper, megvii, finetune, scratch, scratch-small, quickstart, or a YAML file that changes fields of one. Default: "
            "paper from 100,000 pictures on, below that finetune with --from, else scratch or scratch-small."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="The network's input, such as 128 or 96x160. Default: 224, or the pictures' own size up to 64."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe; repeatable.")
    ] = None,
    stem: Annotated[
        Literal["imagenet", "small"] | None,
        typer.Option(help="imagenet (stride 4), or small (stride 1), the default for inputs of up to 64 pixels."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Learn from this trained network's probabilities too: a folder or Hub id, timm/NAME or torchvision/NAME, that knows "
            "the same classes."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Where the data has no test split: the share of each class that is held out for it.")
    ] = 0.1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue from the run folder's last checkpoint, or start where there is none."),
    ] = False,
    trackers: Annotated[
        list[str] | None,
        typer.Option("--tracker", help="Any that Accelerate knows, such as wandb; repeatable. Default: tensorboard."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print result.json at the end instead of progress.")] = False,
) -> None:
    """Train a network, with checkpoints, a report and a folder that `shufflenet predict` reads.

    For several GPUs or machines: `accelerate launch -m shufflenet train ...`. SIGTERM and Ctrl-C write a checkpoint and end with
    status 0; --resume goes on.

    Examples:

      shufflenet train ~/flowers --from user/shufflenet --recipe finetune -o runs/flowers

      shufflenet train ~/flowers --variant shufflenet_x0_5_g3 --size 160 -o runs/flowers

      shufflenet train fashion-mnist --variant shufflenet_x0_5_g3 --stem small --recipe quickstart --set epochs=20 -o runs/clothes

      shufflenet train /data/imagenet --recipe paper --set mixed_precision=bf16 -o runs/imagenet --resume
    """
    from accelerate import PartialState
    from rich.table import Table

    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import console as terminal
    from shufflenet.cli.terminal import say
    from shufflenet.data import describe, open_dataset
    from shufflenet.data.small import decode_small
    from shufflenet.deploy.resolve import resolve_trained
    from shufflenet.training import read_recipe
    from shufflenet.training import train as run
    from shufflenet.training.defaults import choose, rare_classes
    from shufflenet.training.recipe import merge, parse_setting
    from shufflenet.training.teachers import library_teacher

    overrides = merge(*map(parse_setting, settings or ()))
    if recipe is not None:
        read_recipe(recipe, overrides)
    start = resolve_trained(weights) if weights else variant
    training_set, test_set = (open_dataset(data, split, held_out=held_out) for split in ("train", "test"))
    if PartialState().is_main_process:
        say(f"to train on: {describe(training_set)}", stderr=True)
        say(f"to test on: {describe(test_set)}", stderr=True)
    asked = {"size": parse_size(size) if size else None, "stem": stem, "recipe": recipe}
    choice = choose(training_set, trained=None if isinstance(start, str) else start.metadata.preprocessing, **asked)
    chosen = read_recipe(choice.recipe, overrides)
    rare = rare_classes(training_set.labels, training_set.classes)
    if PartialState().is_main_process:
        for remark in (*choice.remarks, *([rare] if rare else [])):
            say(remark, stderr=True)
    training_set, test_set = (decode_small(part, choice.preprocessing.size) for part in (training_set, test_set))
    console = terminal()
    training = run(
        chosen,
        training_set,
        test_set,
        start,
        output,
        stem=choice.stem,
        preprocessing=choice.preprocessing,
        teacher=(library_teacher(teacher) or resolve_trained(teacher)) if teacher else None,
        resume=resume,
        trackers=tuple(trackers or ("tensorboard",)),
        console=None if json else console,
    )
    if not PartialState().is_main_process:
        return
    if not training.finished:
        console.print(f"stopped, with a checkpoint in {output}; the same command with --resume goes on")
        return
    if json:
        console.print_json(data=training.record)
        return
    assert training.evaluation is not None
    table = Table(box=None, show_header=False)
    table.add_row("top-1 error", f"{training.evaluation.top1_error:.2f}%")
    if training.evaluation.says_top5:
        table.add_row("top-5 error", f"{training.evaluation.top5_error:.2f}%")
    table.add_row("images/s", f"{training.record['images_per_second']:.0f}")
    table.add_row("report", f"{output}/report.html")
    console.print(table)
