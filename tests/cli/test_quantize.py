import json

import pytest
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.errors import UserError

SHIPPED = "fashion-mnist/shufflenet_x0_25_g8"


def shufflenet(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize") / "int8"
    done = shufflenet(
        "quantize", SHIPPED, "fashion-mnist-7k", "-o", str(folder), "--pictures", "64", "--workers", "0", "--json"
    )
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


def test_both_errors_sizes_and_layers_are_said(folder):
    _, record = folder
    assert abs(record["post_training"]["top1_error"] - record["float32"]["top1_error"]) < 1
    assert record["post_training"]["bytes"] < 0.4 * record["float32"]["bytes"]
    noise = [row["alone_db"] for row in record["layers"]]
    assert noise == sorted(noise)


def test_evaluate_takes_the_folder(folder):
    place, record = folder
    done = shufflenet("evaluate", str(place), "fashion-mnist-7k", "--workers", "0", "--json")
    assert json.loads(done.stdout)["top1_error"] == pytest.approx(record["post_training"]["top1_error"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--activations", "i4"], "no element type 'i4'"),
        (["--pictures", "0"], "0 pictures to calibrate on"),
        (["--set", "epochs=1"], "add --qat"),
    ],
)
def test_bad_input_is_a_sentence(arguments, words, tmp_path):
    with pytest.raises(UserError, match=words):
        shufflenet("quantize", SHIPPED, "fashion-mnist-7k", "-o", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_int8_is_refused_and_none_is_overwritten(folder, tmp_path):
    place, _ = folder
    with pytest.raises(UserError, match="int8 already"):
        shufflenet("quantize", place, "fashion-mnist-7k", "-o", tmp_path / "out")
    with pytest.raises(UserError, match="is not empty"):
        shufflenet("quantize", SHIPPED, "fashion-mnist-7k", "-o", place)
