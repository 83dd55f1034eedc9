"""Batches from processes that read pictures, whose errors arrive as the sentence that they were there."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from shufflenet.data.pictures import BrokenPictureError
from shufflenet.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
# How torch and the system tell of shared memory that is full, or that a process may not open.
SHARED_MEMORY_WORDS = ("shared memory", "No space left on device", "Bus error", "ancdata", "Too many open files")
CAUGHT = re.compile(r"^Caught (\w+) in DataLoader worker process")


def reading_processes(workers: int) -> int:
    """`workers`, but no more than this process has processors: past them a DataLoader's workers stand in each other's way."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers, processors)


def batches(loader: DataLoader) -> Iterator[Any]:
    """A DataLoader's batches. Raises UserError, in one sentence, for what its worker processes raised or died of."""
    try:
        with _no_signals_to_stop():
            iterator = iter(loader)
        yield from iterator
    except (UserError, OSError, RuntimeError, MemoryError, EOFError) as error:
        # A process that is killed while it hands a batch over leaves an empty connection.
        cut_off = isinstance(error, EOFError | ConnectionError) and loader.num_workers > 0
        sentence = _sentence("DataLoader worker was killed" if cut_off else str(error), loader.num_workers)
        if sentence is None:
            raise
        kind = BrokenPictureError if isinstance(error, BrokenPictureError) else UserError
        raise kind(sentence) from error


@contextmanager
def _no_signals_to_stop() -> Iterator[None]:
    """Processes started in the block never see SIGTERM and SIGINT, which a scheduler or a terminal sends to the whole group.

    It is for the main process to end them, once it has saved its work; without it they end on their own.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sentence(message: str, workers: int) -> str | None:
    """What a person needs of the message that a DataLoader makes; None for messages that are no worker's."""
    caught = CAUGHT.match(message)
    # torch wraps the worker's whole traceback; its last paragraph is "module.Error: what it said".
    said = message.rstrip().rpartition(f"{caught[1]}: ")[2] if caught else message
    if caught and caught[1] in (UserError.__name__, BrokenPictureError.__name__):
        return said
    if any(words in message for words in SHARED_MEMORY_WORDS):
        return (
            f"the {workers} processes that read pictures need more shared memory than {SHARED_MEMORY} has{_size()}: {_first_line(said)}; "
            "start the container with --shm-size=2g, or read without them (--workers 0, or --set workers=0 in training)"
        )
    if caught:
        return f"reading a picture failed: {caught[1]}: {said}"
    if "DataLoader worker" in message:
        return (
            f"a process that reads pictures ended on its own, mostly for want of memory ({_first_line(message)}); "
            f"read with fewer than {workers} (--workers, or --set workers=… in training)"
        )
    return None


def _size() -> str:
    try:
        system = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):
        return ""
    return f" ({system.f_blocks * system.f_frsize / 2**20:.0f} MiB)"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(". ")
