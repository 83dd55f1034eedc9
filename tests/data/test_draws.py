import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from shufflenet.data.draws import item_seeds, torch_seed, uniforms


def _splitmix64(state: int) -> int:
    """The reference algorithm's one step, in Python's integers."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@given(st.integers(0, 2**64 - 1))
def test_mixing_is_splitmix64(state):
    first = uniforms(np.array([state], dtype=np.uint64), 1)[0, 0]
    assert first == (_splitmix64(state) >> 11) / 2**53


@given(st.integers(-(2**63), 2**63), st.integers(0, 10**6), st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_seed_depends_on_its_own_index_alone(seed, epoch, indices):
    together = item_seeds(seed, epoch, indices)
    assert together.dtype == np.uint64
    assert together.tolist() == [item_seeds(seed, epoch, [index])[0] for index in indices]


def test_seeds_differ():
    seeds = [item_seeds(seed, epoch, range(1000)) for seed in range(8) for epoch in range(8)]
    assert len(np.unique(np.concatenate(seeds))) == 64_000


def test_uniforms_are_uniform_and_uncorrelated():
    draws = uniforms(item_seeds(1, 2, range(50_000)), 4)
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        counts = np.histogram(column, bins=20, range=(0, 1))[0]
        assert ((counts - 2500) ** 2 / 2500).sum() < 60  # chi-squared, 19 degrees of freedom: p of about 4e-6
    neighbours = np.concatenate([draws[:-1], draws[1:]], axis=1)
    assert np.abs(np.corrcoef(neighbours.T) - np.eye(8)).max() < 0.02


def test_more_draws_begin_with_fewer():
    seeds = item_seeds(0, 0, range(5))
    assert (uniforms(seeds, 8)[:, :3] == uniforms(seeds, 3)).all()


def test_torch_seed_leaves_the_generator_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = torch.rand(1)
    with torch_seed(2**64 - 1):
        drawn = torch.rand(4)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    with torch_seed(2**64 - 1):
        assert torch.equal(torch.rand(4), drawn)
