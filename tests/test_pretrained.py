"""The checkpoints inside the package: small, loadable without a network, and as good as they say."""

import json

import pytest
from safetensors import safe_open

from shufflenet import pretrained
from shufflenet.checkpoints import load
from shufflenet.data import open_dataset
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.training import evaluate

NAMES = pretrained.names()
CLOTHES = [name for name in NAMES if name.startswith("fashion-mnist/")]
INTEGERS = [name for name in NAMES if name.endswith("_int8")]


def test_a_small_and_a_middle_shufflenet_ship():
    assert {"shufflenet_x0_25", "shufflenet_x0_5"} <= {name.partition("/")[2].rpartition("_g")[0] for name in NAMES}


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(INTEGERS)))
def test_a_shipped_checkpoint_is_small_and_in_half_precision_at_no_cost(name):
    folder = pretrained.FOLDER / name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    with safe_open(folder / "model.safetensors", "pt") as file:
        dtypes = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 (no mapping)
    assert "F16" in dtypes
    assert "F32" not in dtypes
    training = json.loads((folder / "config.json").read_text())["training"]
    assert training["top1_error"] <= training["top1_error_float32"]


@pytest.mark.parametrize("name", INTEGERS)
def test_shipped_integers_are_smaller_still_and_cost_little(name):
    folder = pretrained.FOLDER / name
    before = pretrained.FOLDER / name.removesuffix("_int8")
    assert (folder / "model.safetensors").stat().st_size < 0.8 * (before / "model.safetensors").stat().st_size
    assert isinstance(load(name), QuantizedNetwork)
    training = pretrained.config(name)["training"]
    assert (
        training["top1_error_float"]
        == pretrained.config(before.relative_to(pretrained.FOLDER).as_posix())["training"]["top1_error"]
    )
    assert training["top1_error"] <= training["top1_error_float"] + 0.3


def test_integers_ship():
    assert INTEGERS


@pytest.mark.parametrize("name", CLOTHES)
def test_a_shipped_checkpoint_is_as_good_as_its_config_says(name, monkeypatch):
    """On the bundled 1,000 of the 10,000 pictures that its figure is from: three standard deviations of a sample of 1,000 apart at most."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    net = load(name)
    said = net.metadata.training["top1_error"]
    found = evaluate(net, open_dataset("fashion-mnist-7k", "test")).top1_error
    assert abs(found - said) <= 300 * (said / 100 * (1 - said / 100) / 1000) ** 0.5
