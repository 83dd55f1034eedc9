"""What was compiled before is found again before it is exported, and only where nothing has changed."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.compiler import build, compile_onnx, load
from shufflenet.deploy.exportable import Exportable

from ..networks import Builder


@pytest.fixture(scope="module", autouse=True)
def quick_compiler(tmp_path_factory):
    """gcc in a hurry, and a cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHUFFLENET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CC", "gcc -O0")
        yield


@pytest.fixture(scope="module")
def tiny(quick_compiler, tmp_path_factory):
    """A small network in a folder, and compiled."""
    torch.manual_seed(0)
    net = shufflenet.create("shufflenet_x0_25_g8", num_classes=3, stem="small").eval()
    net.metadata = Metadata(Preprocessing((24, 24), None))
    folder = shufflenet.save(net, tmp_path_factory.mktemp("tiny") / "net")
    return folder, shufflenet.compile(folder)


class ExportedError(Exception):
    """Raised in place of an export."""


def may_not_export(monkeypatch):
    def export(*_):
        raise ExportedError

    monkeypatch.setattr(Exportable, "capture", export)
    monkeypatch.setattr("shufflenet.deploy.compile.compile_onnx", export)


def test_the_second_call_does_not_export(tiny, monkeypatch):
    folder, first = tiny
    may_not_export(monkeypatch)
    second = shufflenet.compile(folder)
    assert second.library == first.library
    assert second.signature == first.signature
    assert second.source == first.source
    x = np.random.default_rng(0).standard_normal((3, 24, 24)).astype(np.float32)
    np.testing.assert_array_equal(second(x), first(x))
    assert shufflenet.compile(shufflenet.load(folder)).library == first.library


def changed_weight(net):
    net.classifier.bias.data[1] += 1e-3


def changed_statistics(net):
    next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_var[0] += 1e-3


def changed_module(net):
    net.stage2[0] = torch.nn.Sequential(net.stage2[0], torch.nn.LeakyReLU(0.1))


def changed_preprocessing(net):
    net.metadata = Metadata(Preprocessing((24, 24), None, mean=(0.5, 0.5, 0.5)))


@pytest.mark.parametrize("change", [changed_weight, changed_statistics, changed_module, changed_preprocessing])
def test_another_network_is_not_found(tiny, change, monkeypatch):
    net = shufflenet.load(tiny[0])
    change(net)
    may_not_export(monkeypatch)
    with pytest.raises(ExportedError):
        shufflenet.compile(net)


def test_another_size_compiler_or_version_is_not_found(tiny, monkeypatch):
    folder, _ = tiny
    may_not_export(monkeypatch)
    with pytest.raises(ExportedError):
        shufflenet.compile(folder, (24, 25))
    with monkeypatch.context() as patch:
        patch.setenv("CC", "gcc -O1")
        with pytest.raises(ExportedError):
            shufflenet.compile(folder)
    with monkeypatch.context() as patch:
        patch.setattr("shufflenet.deploy.compile._code", lambda: "another version")
        with pytest.raises(ExportedError):
            shufflenet.compile(folder)
    shufflenet.compile(folder)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def overwrite_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = [(suffix, damage) for suffix in (".so", ".c") for damage in (cut, overwrite_a_byte, Path.unlink)]


@pytest.mark.parametrize(("suffix", "damage"), [*DAMAGES, (".json", cut), (".json", Path.unlink)])
def test_a_damaged_library_is_built_anew(tmp_path, monkeypatch, suffix, damage):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    b = Builder()
    compiled = compile_onnx(b.model({"x": (1, 2, 3, 3)}, [b.node("Relu", "x")]), name="relu")
    library = build(compiled.source)
    whole = {path.name: path.read_bytes() for path in library.parent.iterdir()}
    damage(library.with_suffix(suffix))
    assert build(compiled.source) == library
    assert {path.name: path.read_bytes() for path in library.parent.iterdir()} == whole
    assert (load(library)(-np.ones((2, 3, 3))) == 0).all()


def test_an_onnx_file_is_found_by_what_it_holds(tmp_path):
    b = Builder()
    factor = b.constant(np.full((1, 2, 1, 1), 3.0))
    path = tmp_path / "2 times.onnx"
    onnx.save(b.model({"x": (1, 2, 3, 3)}, [b.node("Mul", "x", factor)]), path, save_as_external_data=True,
              location="weights.bin", size_threshold=0)  # fmt: skip
    first = shufflenet.compile(path)
    assert first.signature.name == "n2_times"
    x = np.ones((2, 3, 3), np.float32)
    assert (first(x) == 3).all()
    assert shufflenet.compile(path).library == first.library
    (tmp_path / "weights.bin").write_bytes(np.full(2, 5.0, np.float32).tobytes())
    assert (shufflenet.compile(path)(x) == 5).all()


def test_a_library_that_another_version_described_is_built_anew(tiny):
    folder, first = tiny
    record = first.library.with_suffix(".json")
    described = json.loads(record.read_text(encoding="utf-8"))
    whole = record.read_bytes()
    del described["signature"]["outputs"]
    record.write_text(json.dumps(described), encoding="utf-8")
    assert shufflenet.compile(folder).library == first.library
    assert record.read_bytes() == whole
