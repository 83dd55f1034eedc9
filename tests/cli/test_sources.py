"""A variant, a folder, a shipped name and an ONNX file mean the same in every verb, or are refused in a sentence."""

import json

import onnx
import pytest
from typer.testing import CliRunner

import shufflenet
from shufflenet.cli import app
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError

SHIPPED = "fashion-mnist/shufflenet_x0_5_g3"
VARIANT = "shufflenet_x0_25_g8"
# What each verb needs behind the source; OUT is a new place, PICTURE a picture's file.
VERBS = {
    "info": (),
    "predict": ("PICTURE",),
    "evaluate": ("fashion-mnist-7k",),
    "export": ("--format", "torchscript", "-o", "OUT"),
    "compile": ("-o", "OUT"),
    "bench": ("--runtimes", "torch", "--rounds", "1"),
    "web": ("-o", "OUT"),
    "quantize": ("fashion-mnist-7k", "-o", "OUT"),
}
NEED_TRAINED = {"predict", "evaluate", "quantize"}
TAKE_ONNX = {"compile", "web"}
# Slow, and tested with networks in files of their own.
ELSEWHERE = {"evaluate", "web", "quantize"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    net = shufflenet.create(VARIANT, num_classes=3, in_channels=1, stem="small").eval()
    shufflenet.save(net, folder / "net")
    onnx.save(to_onnx(Exportable(net, 32)), folder / "net.onnx")
    return folder


@pytest.fixture
def run(sources, tmp_path):
    from PIL import Image

    picture = tmp_path / "picture.png"
    Image.new("L", (40, 40), 128).save(picture)
    places = {"OUT": str(tmp_path / "out"), "PICTURE": str(picture)}

    def call(verb: str, source: object, *options: str):
        arguments = [places.get(word, word) for word in VERBS[verb]]
        return CliRunner().invoke(app, [verb, str(source), *arguments, *options], catch_exceptions=False)

    return call


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ELSEWHERE])
@pytest.mark.parametrize("kind", ["a folder", "a shipped name"])
def test_trained_networks_are_taken_by_all(verb, kind, run, sources):
    result = run(verb, sources / "net" if kind == "a folder" else SHIPPED)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("verb", ["info", "export", "compile", "bench"])
def test_a_variant_is_taken_where_weights_do_not_matter_and_said(verb, run):
    result = run(verb, VARIANT, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    if verb == "info":
        assert record["spec"]["name"] == VARIANT
    else:
        assert record["random_weights"] is True


@pytest.mark.parametrize("verb", sorted(NEED_TRAINED))
def test_a_variant_is_refused_where_weights_were_to_be_learned(verb, run):
    with pytest.raises(UserError, match=f"{VARIANT} is a variant, whose weights are random; give a trained network"):
        run(verb, VARIANT)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in TAKE_ONNX])
def test_an_onnx_file_is_refused_by_its_name(verb, run, sources):
    with pytest.raises(UserError, match=r"net\.onnx is an ONNX file, which `shufflenet compile`"):
        run(verb, sources / "net.onnx")


def test_an_onnx_file_compiles(run, sources):
    assert json.loads(run("compile", sources / "net.onnx", "--json").stdout)["random_weights"] is False


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_nothing_is_refused_with_what_is_near(verb, run):
    with pytest.raises(UserError, match=r"no folder, variant or shipped network 'shufflenet_x1_0_g33'; did you mean"):
        run(verb, "shufflenet_x1_0_g33")


def test_a_folder_comes_before_a_variant_of_its_name(run, sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = shufflenet.create(VARIANT, num_classes=7).eval()
    shufflenet.save(net, tmp_path / VARIANT)
    assert json.loads(run("info", VARIANT, "--json").stdout)["spec"]["num_classes"] == 7
    assert json.loads(run("compile", VARIANT, "--json").stdout)["random_weights"] is False


@pytest.mark.parametrize("verb", ["info", "predict", "evaluate", "export", "bench"])
def test_a_detector_is_told_apart(verb, run, tmp_path):
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"format": "shufflenet-detector", "detector": {}}))
    with pytest.raises(UserError, match="holds a detector, which the verbs of `shufflenet detect` take"):
        run(verb, folder)
