"""The command line: one file a verb, each of which parses, calls and prints."""

import sys
from importlib import import_module

import typer

from shufflenet import __version__
from shufflenet.cli.terminal import print_what_bytes_allow, say, say_error

# In the order in which --help shows them; a verb's file holds a function of its name, or a sub-app named `app`.
VERBS = (
    "list",
    "info",
    "quickstart",
    "train",
    "evaluate",
    "predict",
    "shards",
    "convert",
    "quantize",
    "export",
    "compile",
    "web",
    "bench",
    "detect",
    "paper",
)

app = typer.Typer(
    name="shufflenet",
    help="Train, measure, convert, export and compile ShuffleNet (arXiv 1707.01083) and the networks it is compared with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"shufflenet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Read by main(), since errors surface there."""


for verb in VERBS:
    module = import_module(f"shufflenet.cli.{verb}")
    if hasattr(module, "app"):
        app.add_typer(module.app, name=verb)
    else:
        app.command(verb)(getattr(module, verb))


def _is_for_the_user(error: Exception) -> bool:
    """Whether an error's message is written for the user: ours, the file system's, or a missing extra's."""
    from shufflenet.errors import UserError
    from shufflenet.nets import VariantError

    # Not imported, since the compiler needs an extra: whoever raises its error has imported it.
    compiler = sys.modules.get("shufflenet.compiler.errors")
    return isinstance(error, UserError | VariantError | OSError) or (
        compiler is not None and isinstance(error, compiler.CompileError)
    )


# What torch says where memory ends, as a plain RuntimeError: of the processor, of a GPU, and past all addresses.
TOO_LARGE = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


def _is_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in TOO_LARGE)
    )


def _words(error: Exception) -> str:
    """What an error says, of the system's the file first: "results.json: No space left on device"."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def main() -> None:
    """The `shufflenet` command: exit status 2 and one sentence on an error, the traceback with --debug."""
    print_what_bytes_allow()
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted", stderr=True)
        sys.exit(130)
    except Exception as error:
        if debug or not (_is_for_the_user(error) or _is_of_memory(error)):
            raise
        say_error(
            "there is not enough memory; take smaller pictures or batches" if _is_of_memory(error) else _words(error)
        )
        sys.exit(2)
