"""Being told to stop: SIGTERM, which a scheduler sends some time before it takes the machine away, and Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


# Not an Exception: what reads pictures takes those for the pictures' own faults.
class Interrupted(BaseException):
    """A signal to stop came where there was nothing to save."""


class StopRequest:
    """While entered, notes the first signal to stop; the second works as ever. True once there was one."""

    def __init__(self) -> None:
        self.requested = False
        self._interrupting = False

    @contextmanager
    def interrupting(self, wanted: bool = True) -> Iterator[None]:
        """If `wanted`, a signal within the block does not wait for its end: Interrupted is raised."""
        self._interrupting = wanted
        try:
            if wanted and self.requested:
                raise Interrupted
            yield
        finally:
            self._interrupting = False

    def __bool__(self) -> bool:
        return self.requested

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        if self._interrupting:
            raise Interrupted

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
