"""One arena for all tensors: those that are alive at the same time lie apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shufflenet.compiler.plan.operands import Buffer


@dataclass(frozen=True)
class Lifetime:
    """`size` bytes that must keep their values from step `first` to step `last`, both included."""

    buffer: Buffer
    size: int
    first: int
    last: int

    def meets(self, other: "Lifetime") -> bool:
        return self.first <= other.last and other.first <= self.last


def spans(touched: Sequence[Iterable[Buffer]], kept: Iterable[Buffer]) -> dict[Buffer, tuple[int, int]]:
    """From the first step to the last that touches each buffer, given what each step touches; `kept` are needed after the last step."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, buffers in enumerate((*touched, kept)):
        for buffer in buffers:
            first.setdefault(buffer, i)
            last[buffer] = i
    return {buffer: (start, last[buffer]) for buffer, start in first.items()}


ATTEMPTS = 40


def place(lifetimes: Sequence[Lifetime]) -> tuple[dict[Buffer, int], int]:
    """Offsets by buffer, and the size of it all.

    A greedy placement fills the lowest gap that is large enough; what it leaves on top then goes first, and so again a few times.
    """
    bound = lower_bound(lifetimes)
    order = sorted(lifetimes, key=lambda t: (-t.size, t.first, t.buffer))
    best: tuple[dict[Buffer, int], int] | None = None
    for _ in range(ATTEMPTS):
        offsets, size = _greedy(order)
        if best is None or size < best[1]:
            best = offsets, size
        if best[1] == bound:
            break
        order = sorted(order, key=lambda t: offsets[t.buffer] + t.size < size)
    assert best is not None
    return best


def lower_bound(lifetimes: Sequence[Lifetime]) -> int:
    """The largest sum of sizes alive at once: no arena is smaller."""
    return max((alive(lifetimes, t.first) for t in lifetimes), default=0)


def alive(lifetimes: Sequence[Lifetime], step: int) -> int:
    """The sum of the sizes alive at a step."""
    return sum(t.size for t in lifetimes if t.first <= step <= t.last)


def _greedy(lifetimes: Sequence[Lifetime]) -> tuple[dict[Buffer, int], int]:
    placed: list[tuple[int, Lifetime]] = []
    for lifetime in lifetimes:
        offset = 0
        for start, other in sorted((pair for pair in placed if pair[1].meets(lifetime)), key=lambda pair: pair[0]):
            if offset + lifetime.size <= start:
                break
            offset = max(offset, start + other.size)
        placed.append((offset, lifetime))
    return {t.buffer: offset for offset, t in placed}, max((o + t.size for o, t in placed), default=0)
