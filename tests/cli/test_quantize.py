import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.compiler.c.emit import main_program
from shufflenet.data import open_dataset
from shufflenet.deploy.compile import compile_source
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


def run(*arguments):
    result = shufflenet(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_predict_says_the_same_with_torch_and_compiled(folder, tmp_path):
    place, _ = folder
    pictures = open_dataset("fashion-mnist-7k", "test")
    for index in range(8):
        pictures[index][0].save(tmp_path / f"{index}.png")
    first, second = (run("predict", place, tmp_path, "--engine", engine, "--json") for engine in ("torch", "compiled"))
    for one, other in zip(first, second, strict=True):
        assert one["file"] == other["file"]
        assert one["classes"][0]["name"] == other["classes"][0]["name"]
        # C adds a residual before it rounds, where the file rounds twice
        assert one["classes"][0]["probability"] == pytest.approx(other["classes"][0]["probability"], abs=0.1)


def test_compile_writes_a_source_that_says_what_is_quantized(folder, tmp_path):
    place, _ = folder
    done = run("compile", place, "-o", tmp_path, "--json")
    texts = [Path(path).read_text() for path in done["files"] if Path(path).name != "threads.h"]
    texts.append(main_program(compile_source(place).source))  # a program for colours, which this network does not read
    for text in texts:
        said = text.partition("*/")[0]
        assert "Quantized: " in said
        assert "steps work on codes of 8 bits, with int8 weights" in said


def test_export_writes_integers_between_quantizers(folder, tmp_path):
    place, _ = folder
    run("export", place, "--format", "onnx", "-o", tmp_path, "--json")
    (path,) = tmp_path.glob("*.onnx")
    model = onnx.load(path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    assert TensorProto.INT8 in {tensor.data_type for tensor in model.graph.initializer}


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
