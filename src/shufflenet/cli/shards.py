"""shufflenet shards: write and index WebDataset shards."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Pack pictures into WebDataset shards, or index such shards.", no_args_is_help=True)


@app.command()
def write(
    data: Annotated[
        str, typer.Argument(help="A data set: a folder of class folders, train/val folders, a name, hf:NAME.")
    ],
    folder: Annotated[Path, typer.Argument(help="Where the shards go.")],
    split: Annotated[str, typer.Option(help="train or test; also the first part of the shards' names.")] = "train",
    shard_mib: Annotated[float, typer.Option("--shard-mib", min=0.001, help="The size of a shard, in MiB.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the random order in which the pictures are stored.")] = 0,
) -> None:
    """Write SPLIT-000000.tar and so on, with an index and classes.txt. A picture's file is stored as it is.

    Examples:

        shufflenet shards write /data/imagenet /data/shards

        shufflenet shards write /data/imagenet /data/shards --split test

        shufflenet train /data/shards -o runs/imagenet
    """
    from functools import partial

    from rich.progress import track

    from shufflenet.cli.terminal import console, say
    from shufflenet.data import describe, open_dataset
    from shufflenet.data.write_shards import write_shards

    progress = partial(track, description="pictures", console=console(stderr=True))
    dataset = open_dataset(data, split)  # type: ignore[arg-type]  # it says what a split may be
    say(describe(dataset), stderr=True)
    paths = write_shards(dataset, folder, split, shard_bytes=int(shard_mib * 2**20), seed=seed, progress=progress)
    say(
        f"{len(dataset)} pictures of {len(dataset.classes)} classes in {len(paths)} shards, {paths[0]} to {paths[-1].name}",
        stderr=True,
    )


@app.command()
def index(
    pattern: Annotated[
        str, typer.Argument(help="The shards, such as '/data/train-{000..146}.tar' or '/data/train-*.tar'.")
    ],
) -> None:
    """Keep beside shards that come from elsewhere an index of where their pictures lie.

    Without it, every run first walks all the shards' headers. classes.txt beside the shards, one name a line, names the classes.

    Examples:

        shufflenet shards index '/data/imagenet-train-{000..146}.tar'
    """
    from shufflenet.cli.terminal import say
    from shufflenet.data.write_shards import write_index

    say(f"wrote {write_index(pattern)}", stderr=True)
