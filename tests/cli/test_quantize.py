import json
import subprocess
import sys

import pytest

SHIPPED = "fashion-mnist/shufflenet_x0_25_g8"


def shufflenet(*arguments):
    return subprocess.run([sys.executable, "-m", "shufflenet", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize") / "int8"
    done = shufflenet(
        "quantize", SHIPPED, "fashion-mnist-7k", "-o", str(folder), "--pictures", "64", "--workers", "0", "--json"
    )
    assert done.returncode == 0, done.stderr
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
    done = shufflenet("quantize", SHIPPED, "fashion-mnist-7k", "-o", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_int8_is_refused_and_none_is_overwritten(folder, tmp_path):
    place, _ = folder
    done = shufflenet("quantize", str(place), "fashion-mnist-7k", "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "int8 already" in done.stderr
    done = shufflenet("quantize", SHIPPED, "fashion-mnist-7k", "-o", str(place))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
