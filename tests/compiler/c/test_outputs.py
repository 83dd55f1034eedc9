"""Outputs of any rank, for one picture and for several, against ONNX Runtime; and what nothing reads."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from shufflenet.compiler import compile_onnx
from shufflenet.deploy.layers import bench_layers

from ..native import load_native
from ..networks import Builder, difference, run_onnxruntime

CHANNELS, HEIGHT, WIDTH = 6, 9, 7


def features(b: Builder) -> str:
    return b.node("Conv", "x", b.weights(8, CHANNELS, 3, 3), pads=[1] * 4)


def pooled(b: Builder) -> str:
    return b.node("GlobalAveragePool", features(b))


def reshape_by_shape(b: Builder) -> str:
    """x.view(x.size(0), -1), as torch traces it."""
    x = pooled(b)
    batch = b.unsqueeze(b.node("Gather", b.node("Shape", x), b.constant(0, np.int64), axis=0))
    return b.node("Reshape", x, b.node("Concat", batch, b.integers(-1), axis=0))


OUTPUTS: dict[str, Callable[[Builder], str]] = {
    "planes": features,
    "a vector": lambda b: b.node("Flatten", pooled(b)),
    "squeezed of all": lambda b: b.node("Squeeze", pooled(b)),
    "squeezed of its pixels": lambda b: b.node("Squeeze", pooled(b), b.integers(2, 3)),
    "a number a picture": lambda b: b.node("Squeeze", b.reduce_mean(b.node("Flatten", pooled(b)), [1]), b.integers(1)),
    "a number, no axis kept": lambda b: b.reduce_mean(features(b), [1, 2, 3], keepdims=0),
    "one channel, squeezed": lambda b: b.node(
        "Squeeze", b.node("Conv", features(b), b.weights(1, 8, 1, 1)), b.integers(1)
    ),
    "rank 5": lambda b: b.reshape(features(b), 0, 2, 4, HEIGHT, WIDTH),
    "batch last": lambda b: b.node("Transpose", b.node("Flatten", pooled(b)), perm=[1, 0]),
    "batch among others": lambda b: b.reshape(features(b), -1, HEIGHT, WIDTH),
    "a size taken at run time": reshape_by_shape,
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("batch", ["batch", 1])
def test_outputs_have_the_shapes_of_the_graph(name, batch, tmp_path):
    b = Builder()
    model = b.model({"x": (batch, CHANNELS, HEIGHT, WIDTH)}, [OUTPUTS[name](b)])
    network = load_native(compile_onnx(model).source, tmp_path)
    x = np.random.default_rng(0).standard_normal((4, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)

    def expected(pictures: np.ndarray) -> np.ndarray:
        return next(iter(run_onnxruntime(model, {"x": pictures}).values()))

    one, found = expected(x[:1]), network(x[0])
    assert isinstance(found, np.ndarray)
    assert found.size == one.size
    assert difference(found.reshape(one.shape), one) <= 1e-5
    together = network(x)
    if batch == "batch":
        assert difference(together, expected(x)) <= 1e-5
    else:
        each = np.stack([expected(x[i : i + 1]) for i in range(4)])
        assert len(together) == 4
        assert difference(together.reshape(each.shape), each) <= 1e-5


def test_one_picture_comes_without_its_batch(tmp_path):
    b = Builder()
    outputs = [features(b), b.node("Flatten", pooled(b)), b.reduce_mean(features(b), [1, 2, 3], keepdims=0)]
    network = load_native(compile_onnx(b.model({"x": ("n", CHANNELS, HEIGHT, WIDTH)}, outputs)).source, tmp_path)
    x = np.zeros((1, CHANNELS, HEIGHT, WIDTH), np.float32)
    assert [y.shape for y in network(x)] == [(8, HEIGHT, WIDTH), (8,), ()]
    assert [y.shape for y in network(x[0])] == [(8, HEIGHT, WIDTH), (8,), ()]


def test_a_network_that_mixes_its_pictures_takes_one(tmp_path):
    b = Builder()
    model = b.model({"x": ("n", CHANNELS, HEIGHT, WIDTH)}, [b.reduce_mean(features(b), [0, 2, 3], keepdims=0)])
    network = load_native(compile_onnx(model).source, tmp_path)
    x = np.random.default_rng(0).standard_normal((2, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    (expected,) = run_onnxruntime(model, {"x": x[:1]}).values()
    assert difference(network(x[0]), expected) <= 1e-5
    with pytest.raises(ValueError, match="does not keep 2 pictures apart; give it one at a time"):
        network(x)


def test_steps_of_any_output_can_be_timed(tmp_path):
    b = Builder()
    model = b.model({"x": ("n", CHANNELS, HEIGHT, WIDTH)}, [b.node("Squeeze", features(b))])
    onnx.save(model, tmp_path / "squeezed.onnx")
    layers = bench_layers(tmp_path / "squeezed.onnx", None, runs=2)
    assert layers.size == (HEIGHT, WIDTH)
    assert layers.total.multiply_adds == 8 * CHANNELS * 9 * HEIGHT * WIDTH


@pytest.mark.parametrize("embed", [True, False])
def test_an_input_that_nothing_reads_is_no_warning(embed, tmp_path):
    b = Builder()
    model = b.model({"x": (1, 6, 9, 7), "unread": (1, 2, 3, 3)}, [b.node("Relu", "x")])
    source = compile_onnx(model, embed=embed).source
    x = np.random.default_rng(0).standard_normal((6, 9, 7)).astype(np.float32)
    found = load_native(source, tmp_path)(x, np.zeros((2, 3, 3), np.float32))
    np.testing.assert_array_equal(found, np.maximum(x, 0))
