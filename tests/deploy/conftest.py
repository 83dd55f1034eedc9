"""Networks that several tests export, made once: random weights whose batch normalization has seen pictures."""

import importlib
from functools import cache
from importlib import metadata

import pytest

from shufflenet.deploy.export import export
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import untrained

SIZE = (64, 64)


def installed():
    importlib.invalidate_caches()
    return sorted((package.name, package.version) for package in metadata.distributions())


@pytest.fixture(autouse=True)
def nothing_is_installed():
    """MNN's scripts install a package with pip when they are first run; no export of ours may, nor a bench."""
    before = installed()
    yield
    assert installed() == before


@pytest.fixture(scope="session")
def network():
    """network(name): the variant, its values of a trained one's size at 64×64."""
    return cache(lambda name: untrained(name, SIZE))


@pytest.fixture(scope="session")
def source(network):
    """source(name): the same to export, captured as ONNX once for all formats."""
    return cache(lambda name, **options: Exportable(network(name), SIZE, **options))


@pytest.fixture(scope="session")
def exported(source, tmp_path_factory):
    """exported(name, format): the same, exported once for the tests of its figures and of its graph."""
    return cache(lambda name, format: export(source(name), format, tmp_path_factory.mktemp(f"{name}-{format}")))
