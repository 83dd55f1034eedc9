import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import onnx
import pytest
from typer.testing import CliRunner

from shufflenet.checkpoints import Metadata, Preprocessing, save
from shufflenet.cli import app
from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.errors import UserError
from shufflenet.nets import create

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    net = create("mobilenet_x0_25", num_classes=3).eval()
    net.metadata = Metadata(Preprocessing(size=(48, 64), short_side=64), ("ant", "bee", "cat"))
    return str(save(net, tmp_path_factory.mktemp("cli") / "net"))


def run(*arguments):
    return runner.invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_export_help_keeps_what_is_in_brackets():
    assert "'shufflenet[onnx,openvino,ncnn,mnn,litert,executorch]'" in run("export", "--help").output


def test_export_says_what_was_written_and_how_well_it_agrees(checkpoint, tmp_path):
    result = run("export", checkpoint, "-o", tmp_path)
    assert result.exit_code == 0
    assert "mobilenet_x0_25.onnx" in result.output.replace("\n", "")
    model = onnx.load(tmp_path / "mobilenet_x0_25.onnx")
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 48, 64]
    assert "BatchNormalization" in {node.op_type for node in model.graph.node}
    with pytest.raises(UserError, match="is there already"):
        run("export", checkpoint, "-o", tmp_path)


def test_export_options_reach_the_file(checkpoint, tmp_path):
    options = ["--with-preprocessing", "--open-size", "--fold-batch-norm", "--json"]
    result = run("export", checkpoint, "--format", "onnx", "-o", tmp_path, *options)
    record = json.loads(result.output)
    assert record["input"] == {"shape": ["batch", 48, 64, 3], "layout": "NHWC", "dtype": "uint8", "open_size": True}
    assert record["classes"] == ["ant", "bee", "cat"]
    model = onnx.load(tmp_path / "mobilenet_x0_25.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert "Softmax" in kinds
    assert "BatchNormalization" not in kinds
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "height",
        "width",
        "",
    ]


def test_bench_prints_json_of_its_schema_and_writes_a_plot(checkpoint, tmp_path):
    plot = tmp_path / "bench.png"
    result = run("bench", checkpoint, "--runtimes", "onnx,torch", "--rounds", 2, "--json", "--plot", plot)
    record = json.loads(result.output)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "bench.schema.json").read_text())
    jsonschema.validate(record, schema)
    assert record["size"] == [48, 64]
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"bench\.png is there already"):
        run("bench", checkpoint, "--plot", plot)


def test_bench_refuses_a_plot_it_cannot_draw_before_it_measures(checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"ends in \.png, \.svg, \.pdf"):
        run("bench", checkpoint, "--plot", tmp_path / "bench.bmp")


def test_bench_of_nothing_says_why(checkpoint, monkeypatch):
    monkeypatch.setitem(RUNTIMES, "onnx", replace(RUNTIMES["onnx"], runs=("no_such_module",)))
    with pytest.raises(UserError, match=r"nothing was measured; ONNX Runtime needs no_such_module: pip install"):
        run("bench", checkpoint, "--runtimes", "onnx")


def test_bench_shows_a_table_with_ratios(checkpoint, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run("bench", "mobilenet_x0_25", "--runtimes", "onnx,ncnn", "--rounds", 1, "--size", 40)
    assert "mobilenet_x0_25, 40×40" in result.output
    assert "1.00×" in result.output
    assert "…" not in result.output
    assert "ONNX Runtime" in result.output


@pytest.mark.parametrize("arguments", [[], ["mobilenet_x0_25", "--table8"]])
def test_bench_wants_a_network_or_table8(arguments):
    with pytest.raises(UserError, match="give either a network or --table8"):
        run("bench", *arguments)


def test_bench_times_the_steps_of_the_compiled_network(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path / "cache"))
    result = run("bench", checkpoint, "--layers", "--rounds", 1, "--json", "-o", tmp_path / "layers.json")
    record = json.loads(result.output)
    assert json.loads((tmp_path / "layers.json").read_text()) == record
    assert (record["variant"], record["size"]) == ("mobilenet_x0_25", [48, 64])
    steps = record["steps"]
    assert sum(step["share_of_time"] for step in steps) == pytest.approx(1)
    assert sum(step["us"] for step in steps) == pytest.approx(record["total"]["us"])
    assert sum(step["multiply_adds"] for step in steps) == record["total"]["multiply_adds"] > 0
    first = steps[1] if steps[0]["kind"] == "CopyPlanes" else steps[0]
    assert first["gflops"] == pytest.approx(2e-3 * first["multiply_adds"] / first["us"])
    assert first["share_of_peak"] == pytest.approx(first["gflops"] / record["peak_gflops"])
    shown = run("bench", checkpoint, "--layers", "--rounds", 1).output
    assert shown.count("depthwise 3×3 convolution") == 13
    assert "GFLOP/s on one thread" in shown
    with pytest.raises(UserError, match="leave --table8, --runtimes, --threads and --plot out"):
        run("bench", checkpoint, "--layers", "--threads", 2)
