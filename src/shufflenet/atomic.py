"""Files and folders that appear whole or not at all: every file that this package leaves behind is written through here."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFTOVERS = ".*.part*"


def _beside(path: Path) -> Path:
    # The suffix stays at the end, since some libraries choose the format by it.
    return path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")


def _to_disk(path: Path) -> None:
    """Wait until a file or folder would outlive a loss of power."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        # Windows opens no folder.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary file to write in the block, which becomes `path` at its end: readers see the old file or the new one.

    After an error, or if the process is killed, the old file is still there. The folder is made if it is missing. Where `path` is a
    link, the file behind it is replaced; what is no file (/dev/stdout, a pipe) is written straight. An OSError names `path`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        yield path
        return
    temporary = _beside(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, target)
        _to_disk(target.parent)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill in the block, which becomes `folder`, missing or empty until then, at its end."""
    target = Path(os.path.realpath(folder))
    temporary = _beside(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, target)
        _to_disk(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing_into(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill in the block, whose files move into `folder` at its end, each in one step, in order of their names.

    `folder` is made if it is missing; its other files are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder / "into")
    try:
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.iterdir()):
            _to_disk(path)
            os.replace(path, folder / path.name)
        _to_disk(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 through `writing`."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder that no other process writes to now."""
    for path in folder.glob(LEFTOVERS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
