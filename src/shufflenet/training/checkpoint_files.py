"""A run's checkpoints, of which the last few are kept."""

import re
import shutil
from pathlib import Path
from typing import Any

import torch

from shufflenet import atomic
from shufflenet.errors import UserError

NAME = re.compile(r"iteration-(\d+)\.pt")


def write_checkpoint(folder: Path, iteration: int, state: dict[str, Any], *, keep: int) -> Path:
    """Write `state` so that a reader, or a machine that loses power, sees all of it or nothing; then remove all but the last `keep`.

    Raises UserError, with the older checkpoints untouched, if the disk does not take it.
    """
    path = folder / f"iteration-{iteration:09d}.pt"
    try:
        with atomic.writing(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    # torch's zip writer reports a full disk as RuntimeError
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(folder).free / 2**20
        previous = list_checkpoints(folder)
        kept = f"; {previous[-1].name} is intact, and --resume goes on from it" if previous else ""
        raise UserError(f"checkpoint {path} cannot be written ({error}; {free:.0f} MiB are free){kept}") from error
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in `folder`, the oldest first."""
    return sorted(path for path in folder.glob("iteration-*.pt") if NAME.fullmatch(path.name))


def iteration_of(path: Path) -> int:
    """How many iterations a checkpoint has seen, by its name."""
    match = NAME.fullmatch(path.name)
    assert match, path
    return int(match[1])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises UserError if the file is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({error}); remove it to go on from the one before"
        ) from error


def prepare_folder(folder: Path, *, needed_bytes: int) -> None:
    """Make `folder`, sure that `needed_bytes` can be written there. Raises UserError if not: before training, not hours into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers(folder)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(f"run folder {folder} cannot be written: {error.strerror}; choose another with -o") from error
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(
            f"{folder} has {free / 2**20:.0f} MiB free and the run's checkpoints need {needed_bytes / 2**20:.0f}; "
            "make room, or keep fewer (keep_checkpoints)"
        )
