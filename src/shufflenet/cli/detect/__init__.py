"""`shufflenet detect VERB`: detectors on this package's networks. One file a verb, as in the folder above."""

from importlib import import_module

import typer

VERBS = ("train", "evaluate", "predict", "export", "bench", "scenes")

app = typer.Typer(
    help="Find objects: train, evaluate, use a detector with one of these networks as its backbone.",
    no_args_is_help=True,
)

for verb in VERBS:
    app.command(verb)(getattr(import_module(f"shufflenet.cli.detect.{verb}"), verb))
