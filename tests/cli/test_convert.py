"""`shufflenet convert`: files, fetching, and what it says when it cannot."""

import pytest
import torch
from pytorchcv.model_provider import get_model
from typer.testing import CliRunner

import shufflenet
from shufflenet.cli import app
from shufflenet.errors import UserError

NAME = "shufflenet_g3_wd4"


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "80"})


@pytest.fixture
def weights(tmp_path):
    torch.save(get_model(NAME).state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_file_becomes_a_folder(weights, tmp_path):
    result = run(weights, "--source", "pytorchcv", "--variant", NAME, "-o", tmp_path / "out")
    assert "shufflenet_x0_25_g3 with num_classes=1000, stem_channels=6, shortcut_first=False" in result.output
    assert "RGB; resize the short side to 256" in result.output
    net = shufflenet.load(tmp_path / "out")
    assert net.metadata.training == {"source": f"pytorchcv {NAME}", "license": "mit"}
    with pytest.raises(UserError, match="is not empty"):
        run(weights, "--source", "pytorchcv", "--variant", NAME, "-o", tmp_path / "out")
    run(weights, "--source", "pytorchcv", "--variant", NAME, "-o", tmp_path / "out", "--overwrite")


def test_pytorchcvs_weights_are_fetched_through_pytorchcv(weights, tmp_path, monkeypatch):
    asked = []

    def get_model_file(name):
        asked.append(name)
        return str(weights)

    monkeypatch.setattr("pytorchcv.models.common.model_store.get_model_file", get_model_file)
    run(f"pytorchcv:{NAME}", "-o", tmp_path / "out")
    assert asked == [NAME]
    training = shufflenet.load(tmp_path / "out").metadata.training
    assert training["dataset"] == "imagenet"
    assert 30 < training["top5_error"] < 40  # pytorchcv's own figure for the file


@pytest.mark.parametrize(
    "error", [OSError("no route"), RuntimeError("Failed downloading url"), ValueError("different hash")]
)
def test_no_network_is_one_sentence(error, tmp_path, monkeypatch):
    def get_model_file(name):
        raise error

    monkeypatch.setattr("pytorchcv.models.common.model_store.get_model_file", get_model_file)
    with pytest.raises(UserError, match="pytorchcv's weights of shufflenet_g3_wd4 cannot be had"):
        run(f"pytorchcv:{NAME}", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_extra_is_named_with_its_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorchcv.models.common.model_store", None)
    with pytest.raises(UserError, match=r"pip install 'shufflenet\[convert\]'"):
        run(f"pytorchcv:{NAME}", "-o", tmp_path / "out")


def test_what_does_not_say_what_it_is(weights, tmp_path):
    with pytest.raises(UserError, match="does not say what it is; give --source and --variant"):
        run(weights, "-o", tmp_path / "out")
    with pytest.raises(UserError, match="says source and variant already"):
        run(f"pytorchcv:{NAME}", "--source", "megvii", "-o", tmp_path / "out")
    with pytest.raises(UserError, match="'resnet18' is no ShuffleNet of pytorchcv"):
        run("pytorchcv:resnet18", "-o", tmp_path / "out")
