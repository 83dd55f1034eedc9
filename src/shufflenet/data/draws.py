"""Random numbers as a pure function of (seed, epoch, index): workers, ranks and a resumed run draw the same ones for a picture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment and multipliers (Steele, Lea, Flood, OOPSLA 2014)
MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def item_seeds(seed: int, epoch: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """One uint64 for each index, by SplitMix64's mixing of seed, then epoch, then index."""
    return _step(_epoch_state(seed, epoch), np.asarray(indices))


def uniforms(seeds: np.ndarray, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) for each of the seeds: float64 [seeds, count]. A prefix does not depend on count."""
    steps = GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
    return (_mixed(seeds[:, None] + steps) >> np.uint64(11)) * 2.0**-53


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """torch's CPU generator started from a seed, and put back afterwards as it was."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)


@cache
def _epoch_state(seed: int, epoch: int) -> np.ndarray:
    return _step(np.array([seed % 2**64], dtype=np.uint64), np.array([epoch]))


def _step(state: np.ndarray, values: np.ndarray) -> np.ndarray:
    return _mixed(state + GOLDEN * (values.astype(np.uint64) + np.uint64(1)))


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * MULTIPLIERS[0]
    state = (state ^ (state >> np.uint64(27))) * MULTIPLIERS[1]
    return state ^ (state >> np.uint64(31))
