"""Outputs of any rank, for one picture and for several, against ONNX Runtime; and what nothing reads."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

import shufflenet
from shufflenet.compiler import CompileError, compile_onnx
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


def shuffled_with_batch(b: Builder) -> str:
    """Channels taken apart beside the batch, as in Megvii's ShuffleNetV2; the second half of them."""
    halves = b.node("Transpose", b.reshape(features(b), -1, 2, HEIGHT * WIDTH), perm=[1, 0, 2])
    return b.node("Gather", b.reshape(halves, 2, -1, 4, HEIGHT, WIDTH), b.constant(1, np.int64), axis=0)


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
    "a shuffle that takes the batch along": shuffled_with_batch,
    "all in one row": lambda b: b.node("Flatten", pooled(b), axis=0),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_outputs_have_the_shapes_of_the_graph(name, batch, tmp_path):
    b = Builder()
    model = b.model({"x": (batch, CHANNELS, HEIGHT, WIDTH)}, [OUTPUTS[name](b)])
    network = load_native(compile_onnx(model).source, tmp_path)
    x = np.random.default_rng(0).standard_normal((4, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)

    def expected(pictures: np.ndarray) -> np.ndarray:
        return next(iter(run_onnxruntime(model, {"x": pictures}).values()))

    together = network(x)
    if batch == 4:
        assert difference(together, expected(x)) <= 1e-5
        return
    one, found = expected(x[:1]), network(x[0])
    assert isinstance(found, np.ndarray)
    assert found.size == one.size
    assert difference(found.reshape(one.shape), one) <= 1e-5
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


MIXED: dict[str, Callable[[Builder], str]] = {
    "a mean over pictures": lambda b: b.reduce_mean(features(b), [0, 2, 3], keepdims=0),
    "pictures beside pictures": lambda b: b.node("Concat", features(b), features(b), axis=0),
    "pictures among channels": lambda b: b.reshape(b.node("Transpose", b.node("Flatten", pooled(b)), perm=[1, 0]), -1),
    "the first picture": lambda b: b.slice(features(b), 0, 1, axis=0),
    "the last picture first": lambda b: b.slice(features(b), -1, -1000, axis=0, step=-1),
    "an offset a picture": lambda b: b.node("Add", features(b), b.weights(4, 8, 1, 1)),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_file_whose_fixed_batch_is_mixed_is_refused(name):
    b = Builder()
    with pytest.raises(CompileError, match=r"export the network with batch 1|a constant must not be larger"):
        compile_onnx(b.model({"x": (4, CHANNELS, HEIGHT, WIDTH)}, [MIXED[name](b)]))


def test_inputs_of_different_batches_are_refused():
    b = Builder()
    with pytest.raises(CompileError, match="'x' has 4, 'y' has 2; export the network with one batch"):
        compile_onnx(b.model({"x": (4, 6, 9, 7), "y": (2, 6, 9, 7)}, [b.node("Relu", "x"), b.node("Relu", "y")]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch", [1, 4])
def test_a_shufflenet_of_a_fixed_batch(batch, tmp_path):
    """The exporter of torch writes the batch into every shape of a shuffle."""
    net = shufflenet.create("shufflenet_x0_25_g8", num_classes=5).eval()
    x = torch.randn(batch, 3, 64, 64)
    torch.onnx.export(net, (x,), tmp_path / "fixed.onnx", dynamo=False)
    model = onnx.load(tmp_path / "fixed.onnx")
    network = load_native(compile_onnx(model).source, tmp_path)
    (expected,) = run_onnxruntime(model, {model.graph.input[0].name: x.numpy()}).values()
    assert difference(network(x.numpy()).reshape(expected.shape), expected) <= 1e-5


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
