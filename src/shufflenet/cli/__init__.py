"""The command line: one file a verb, each of which parses, calls and prints."""

import sys
from importlib import import_module

import typer
from rich.console import Console

from shufflenet.errors import UserError

VERBS = ("list", "info")

app = typer.Typer(
    name="shufflenet",
    help="Train, measure, convert, export and compile ShuffleNet (arXiv 1707.01083) and the networks it is compared with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
