"""ONNX files whose weights lie in files beside them; files that are no such thing; and where the C compiler keeps its own."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from shufflenet.compiler import CompileError
from shufflenet.compiler.read import load_model
from shufflenet.deploy.compile import _digest, compile_source

from ..networks import Builder


@pytest.fixture
def path(tmp_path):
    """A network in two files."""
    b = Builder()
    model = b.model({"x": (1, 6, 9, 7)}, [b.node("Conv", "x", b.weights(8, 6, 3, 3))])
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return tmp_path / "net.onnx"


def test_weights_beside_the_file_are_read(path):
    (weight,) = load_model(path).graph.initializer
    expected = Builder().random.standard_normal((8, 6, 3, 3)) / 54**0.5
    np.testing.assert_array_equal(numpy_helper.to_array(weight), expected.astype(np.float32))


def test_links_are_followed_as_in_the_hubs_cache(path):
    blobs, snapshot = path.parent / "blobs", path.parent / "snapshot"
    blobs.mkdir(), snapshot.mkdir()
    for name, blob in (("net.onnx", "1a"), ("net.onnx.data", "2b")):
        (path.parent / name).rename(blobs / blob)
        (snapshot / name).symlink_to(blobs / blob)
    (weight,) = load_model(snapshot / "net.onnx").graph.initializer
    assert len(weight.raw_data) == 4 * 8 * 6 * 9


def test_missing_weights_are_named(path):
    path.with_name("net.onnx.data").unlink()
    with pytest.raises(CompileError, match=r"keeps its weights in net\.onnx\.data, which cannot be read .*one folder"):
        load_model(path)


def test_weights_that_are_cut_short_are_named(path):
    os.truncate(path.with_name("net.onnx.data"), 100)
    with pytest.raises(CompileError, match=r"net\.onnx\.data is cut short: it should have 1,728 bytes .* and has 100"):
        load_model(path)


@pytest.mark.parametrize("location", ["/etc/passwd", "../net.onnx.data", ""])
def test_weights_elsewhere_are_refused(path, location):
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError, match="outside of its folder"):
        load_model(path)


def test_an_empty_file_is_said_to_be_empty(path):
    path.write_bytes(b"")
    with pytest.raises(CompileError, match=r"net\.onnx is empty; copy or export it again"):
        load_model(path)


def test_a_name_in_capitals_is_an_onnx_file_too(path):
    model = load_model(path)
    capitals = path.with_name("UP.ONNX")
    onnx.save(model, str(capitals), format="protobuf")
    assert compile_source(capitals).source.name == "UP"


def test_weights_beyond_what_one_message_holds_are_told_apart(path):
    """The key of the cache is made of the model's parts: whole, a model above 2 GB cannot be serialized."""
    model = load_model(path)
    parts = SimpleNamespace(graph=model.graph, opset_import=model.opset_import, ir_version=model.ir_version)
    before = _digest(parts)
    assert before == _digest(load_model(path))
    weights = model.graph.initializer[-1]
    weights.raw_data = bytes([weights.raw_data[0] ^ 1]) + weights.raw_data[1:]
    assert _digest(parts) != before


def test_nothing_asks_for_a_home_where_a_cache_is_given(path):
    """Neither we nor the C compiler write anywhere else."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": "/proc/none",
        "SHUFFLENET_CACHE": str(path.parent / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import shufflenet; print(shufflenet.compile({str(path)!r}).arena_bytes)"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0
