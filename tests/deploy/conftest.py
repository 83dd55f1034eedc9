"""Networks that several tests export, made once: random weights whose batch normalization has seen pictures."""

from functools import cache

import pytest

from shufflenet.deploy.parity import untrained
from shufflenet.deploy.source import Source

SIZE = (64, 64)


@pytest.fixture(scope="session")
def network():
    """network(name): the variant, its values of a trained one's size at 64×64."""
    return cache(lambda name: untrained(name, SIZE))


@pytest.fixture(scope="session")
def source(network):
    """source(name): the same to export, captured as ONNX once for all formats."""
    return cache(lambda name, **options: Source(network(name), SIZE, **options))
