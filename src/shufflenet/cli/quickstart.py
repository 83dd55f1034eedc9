"""`shufflenet quickstart`: a small ShuffleNet learns real pictures while you watch, and tells some apart."""

from typing import Annotated

import typer

VARIANT = "shufflenet_x0_25_g3"
DATA = "fashion-mnist-7k"
SHOWN = 6


def quickstart(
    output: Annotated[str, typer.Option("--output", "-o", help="Where the trained network goes.")] = "runs/quickstart",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe; repeatable.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON instead of progress and pictures.")
    ] = False,
) -> None:
    """Train on the 6,000 pictures of clothing that come with the package, test on 1,000 others, and predict a few of these.

    Takes about three minutes on two processor cores, and no network. A second call starts again.

    Examples:

      shufflenet quickstart

      shufflenet predict runs/quickstart photo-of-a-shoe.png
    """
    import shutil
    from pathlib import Path

    import torch
    from rich.table import Table
    from rich.text import Text

    from shufflenet.checkpoints import load
    from shufflenet.cli.halfblocks import half_blocks
    from shufflenet.cli.terminal import console, print_json, print_whole, say
    from shufflenet.data import open_dataset, prepare
    from shufflenet.errors import UserError
    from shufflenet.training import read_recipe, train
    from shufflenet.training.recipe import merge, parse_setting

    folder = Path(output)
    if folder.exists():
        if not (folder / "recipe.yaml").exists():
            raise UserError(f"{folder} is not a folder of `shufflenet quickstart`; choose another with -o")
        shutil.rmtree(folder)
    shown_on = console()
    recipe = read_recipe("quickstart", merge(*map(parse_setting, settings or ())))
    training_set, test_set = open_dataset(DATA, "train"), open_dataset(DATA, "test")
    training = train(recipe, training_set, test_set, VARIANT, folder, stem="small", console=None if json else shown_on)
    if not training.finished:
        say("stopped; call it again to start again")
        return
    if json:
        print_json(training.record)
        return
    assert training.evaluation is not None
    net = load(folder)
    inputs = prepare(test_set, net.metadata.preprocessing)
    table = Table(box=None, show_header=False, pad_edge=False)
    numbers = range(0, len(test_set), len(test_set) // SHOWN)[:SHOWN]
    for number in numbers:
        picture, label = test_set[number]
        with torch.inference_mode():
            best = net(inputs[number][0][None]).softmax(1)[0].topk(3)
        guesses = [(test_set.classes[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        mark = Text("✓", "green") if guesses[0][0] == test_set.classes[label] else Text("✗", "red")
        words = "\n".join(f"{name} {probability:.1%}" for name, probability in guesses)
        # Without colours the blocks would be so many bars.
        shown = half_blocks(picture) if shown_on.color_system else test_set.name(number)
        table.add_row(shown, Text.assemble(mark, f" {test_set.classes[label]}\n\n{words}"))
    print_whole(table)
    say(
        f"{100 - training.evaluation.top1_error:.1f}% of the 1,000 test pictures classified correctly. The network is in {folder}, "
        f"its report in {folder}/report.html; `shufflenet predict {folder} PICTURE...` classifies your own pictures."
    )
