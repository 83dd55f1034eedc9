import json
import re
import tomllib
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflenet.deploy.export import export
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import Parity, compare, sample_inputs, untrained
from shufflenet.deploy.runtimes import FORMATS, RUNTIMES
from shufflenet.deploy.worker import start
from shufflenet.errors import UserError

SIZE = (64, 64)  # of conftest's sources
HEAVY = [pytest.param(format, marks=pytest.mark.heavy_export) for format in ("litert", "executorch")]
FORMAT = pytest.mark.parametrize("format", ["onnx", "openvino", "ncnn", "mnn", "torchscript", *HEAVY])
# Shuffles in each; a network without them must not get any transposes either.
SHUFFLES = {
    "shufflenet_x1_0_g3": 16,
    "shufflenet_x0_25_g8": 16,
    "shufflenet_x0_5_g3_se": 16,
    "xception_like_13m": 0,
    "mobilenet_x0_5": 0,
}
NETWORK = pytest.mark.parametrize("name", SHUFFLES)


@NETWORK
@FORMAT
def test_an_export_equals_torch_in_its_runtime(exported, name, format):
    done = exported(name, format)
    assert done.parity.pictures == 8
    assert done.parity.max_relative_difference < 1e-4
    assert done.parity.top1_agreement == 1
    record = json.loads(done.record.read_text())
    folder = done.record.parent
    assert sorted(path.name for path in folder.iterdir()) == sorted([*record["files"], done.record.name])
    assert record["bytes"] == sum((folder / file).stat().st_size for file in record["files"])
    assert record["input"] == {"shape": ["batch", 3, 64, 64], "layout": "NCHW", "dtype": "float32", "open_size": False}
    assert record["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert record["preprocessing"]["size"] == [64, 64]
    assert record["parity"]["max_relative_difference"] == done.parity.max_relative_difference


@FORMAT
def test_pictures_in_probabilities_out(source, tmp_path, format):
    exported = source("shufflenet_x0_25_g8", with_preprocessing=True)
    done = export(exported, format, tmp_path)
    record = json.loads(done.record.read_text())
    assert record["input"]["layout"] == "NHWC"
    assert record["input"]["dtype"] == ("float32" if format == "ncnn" else "uint8")
    pictures = sample_inputs(exported, 2)
    fed = pictures.astype(record["input"]["dtype"])
    with start(FORMATS[format], done.files[0], fed) as worker:
        np.testing.assert_allclose(worker.outputs.sum(axis=1), 1, rtol=1e-5)
        assert compare(worker.outputs, exported.run(pictures)).max_relative_difference < 1e-4


@NETWORK
def test_ncnn_gets_shuffle_channel_layers(exported, name):
    lines = [line.split() for line in exported(name, "ncnn").files[0].read_text().splitlines()[2:]]
    layers = Counter(line[0] for line in lines)
    assert layers["ShuffleChannel"] == SHUFFLES[name]
    assert "Permute" not in layers
    assert layers["Reshape"] == 0
    groups = "0=8" if name.endswith("g8") else "0=3"
    assert all(groups in line and "1=0" in line for line in lines if line[0] == "ShuffleChannel")


@NETWORK
def test_openvino_fuses_the_shuffles(exported, name):
    import openvino

    core = openvino.Core()
    model = core.read_model(exported(name, "openvino").files[0])
    assert Counter(op.get_type_name() for op in model.get_ops())["Transpose"] == SHUFFLES[name]
    assert str(model.input(0).partial_shape) == "[?,3,64,64]"
    model.reshape([1, 3, *SIZE])
    executed = core.compile_model(model, "CPU").get_runtime_model().get_ops()
    layers = Counter(op.get_rt_info()["layerType"].value for op in executed)
    assert layers["ShuffleChannels"] == SHUFFLES[name]
    assert "Transpose" not in layers  # what Reshapes there are shape weights


@pytest.mark.heavy_export
@NETWORK
def test_litert_transposes_once_a_shuffle_and_never_in_rank_5(exported, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported(name, "litert").files[0]))
    interpreter.allocate_tensors()
    ranks = {tensor["index"]: len(tensor["shape"]) for tensor in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    transposes = Counter(ranks[op["outputs"][0]] for op in operators if op["op_name"] == "TRANSPOSE")
    assert transposes == {4: SHUFFLES[name] + 2}  # and the input's layout, and the classifier's
    assert max(ranks[index] for op in operators for index in op["outputs"]) == 4


def test_openvino_takes_an_open_size(source, tmp_path):
    exported = source("shufflenet_x0_25_g8", open_size=True)
    done = export(exported, "openvino", tmp_path)
    odd = replace(exported, size=(51, 83))
    inputs = sample_inputs(odd, 3)
    with start(FORMATS["openvino"], done.files[0], inputs) as worker:
        assert compare(worker.outputs, odd.run(inputs)).max_relative_difference < 1e-4


def test_torchscript_takes_any_batch_and_size(source, tmp_path):
    exported = source("shufflenet_x0_25_g8")
    done = export(exported, "torchscript", tmp_path)
    odd = replace(exported, size=(51, 83))
    inputs = sample_inputs(odd, 3)
    with start(FORMATS["torchscript"], done.files[0], inputs) as worker:
        assert compare(worker.outputs, odd.run(inputs)).max_relative_difference < 1e-5


def test_files_in_the_way_are_left_alone(source, tmp_path):
    exported = source("mobilenet_x0_5")
    (tmp_path / "mobilenet_x0_5.onnx").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        export(exported, "onnx", tmp_path)
    assert (tmp_path / "mobilenet_x0_5.onnx").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mobilenet_x0_5.onnx"]
    export(exported, "onnx", tmp_path, overwrite=True)
    assert (tmp_path / "mobilenet_x0_5.onnx").stat().st_size > 1e6


def test_a_missing_package_is_named_with_its_pip_line(source, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], runs=("no_such_module",)))
    with pytest.raises(UserError, match=r"ONNX Runtime needs no_such_module: pip install 'shufflenet\[onnx\]'"):
        export(source("mobilenet_x0_5"), "onnx", tmp_path)


@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES.values() if runtime.extra], ids=lambda r: r.name)
def test_the_pip_line_brings_what_was_missing(runtime):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"][runtime.extra]]
    brought = {re.match(r"[\w-]+", requirement)[0].lower().replace("-", "_") for requirement in requirements}
    modules = {name.partition(".")[0].lower() for name in (*runtime.writes, *runtime.runs)}
    assert modules - {"shufflenet", "_tools"} <= brought  # _tools, the converter, is in MNN's wheel


@pytest.mark.parametrize(
    ("format", "options", "sentence"),
    [("caffe", {}, "there is no format 'caffe'"), ("ncnn", {"open_size": True}, "ncnn files hold one picture size")],
)
def test_what_cannot_be_is_refused_in_a_sentence(source, tmp_path, format, options, sentence):
    with pytest.raises(UserError, match=sentence):
        export(source("mobilenet_x0_5", **options), format, tmp_path)


def test_a_result_that_differs_is_not_written(source, tmp_path, monkeypatch):
    other = source("shufflenet_x0_25_g8")
    write = FORMATS["onnx"].write
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], write=lambda _, folder: write(other, folder)))
    with pytest.raises(UserError, match="differs from float64 by"):
        export(source("mobilenet_x0_5"), "onnx", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_network_that_no_float32_computes_well_is_exported(tmp_path):
    """Features of 1 + 1e-5 z, of which a classifier whose rows sum to 0 keeps the z: torch itself is further than 1e-3 from float64."""
    net = untrained("mobilenet_x0_25", SIZE)
    last = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)][-1]
    with torch.no_grad():
        last.weight.fill_(1e-5)
        last.bias.fill_(1.0)
        net.classifier.weight -= net.classifier.weight.mean(1, keepdim=True)
        net.classifier.bias.zero_()
    source = Exportable(net, SIZE)
    pictures = sample_inputs(source, 8)
    assert compare(source.run(pictures), source.run_in_float64(pictures)).max_relative_difference > 1e-3
    done = export(source, "onnx", tmp_path)
    assert done.files[0].is_file()
    assert done.parity.max_relative_difference > 0


def test_a_difference_of_nan_is_infinite():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert compare(np.array([[np.nan, 1.0]]), np.ones((1, 2))).max_relative_difference == float("inf")
    assert compare(np.array([[2.0, 1.0], [1.0, 4.0]]), np.array([[2.0, 1.0], [4.0, 3.0]])) == Parity(2, 0.75, 0.5)
