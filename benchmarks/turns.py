"""Timing side by side: some runs of each call at a time, in turn, so that what the machine does meanwhile meets all of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Call = Callable[[np.ndarray], Any]  # of a network on pictures


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    runs: int,
    *,
    at_once: int = 10,
    uncounted: int = 1,
    rest_s: float = 0.0,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Milliseconds of at least `runs` runs of each. Each turn is a rest, `uncounted` runs, then `at_once` that count."""
    ms: dict[str, list[float]] = {name: [] for name in calls}
    at_once = min(at_once, runs)
    for _ in range(-(-runs // at_once)):
        for name, call in calls.items():
            time.sleep(rest_s)
            for _ in range(uncounted):
                call()
            for _ in range(at_once):
                start = clock()
                call()
                ms[name].append(1e3 * (clock() - start))
    return ms


def check_alike(calls: Mapping[str, Call], x: np.ndarray) -> None:
    """All must compute what the first one does. Exits otherwise."""
    first = next(iter(calls.values()))(x)
    for name, call in calls.items():
        difference = np.abs(call(x).reshape(-1) - first.reshape(-1)).max() / np.abs(first).max()
        if not difference <= 1e-3:
            raise SystemExit(f"{name} computes something else: {difference:.2g} of the largest output")


def bound(calls: Mapping[str, Call], x: np.ndarray) -> dict[str, Callable[[], object]]:
    """Each call with its input."""
    return {name: lambda call=call: call(x) for name, call in calls.items()}


def summary(ms: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and minimum."""
    return {name: {"median_ms": float(np.median(times)), "min_ms": min(times)} for name, times in ms.items()}
