"""Networks of integers in torch: the very bytes of the compiler's reference and of the compiled C."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.data import open_dataset
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import untrained
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.nets import codes
from shufflenet.nets.codes import Codes, Layer, _joined, joining
from shufflenet.nets.integers import IntegerLayer, Quantizer
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.quantization.post_training import CalibrationInputs

SIZE = (40, 51)


@pytest.fixture(scope="module")
def pictures():
    return open_dataset("fashion-mnist-7k", "train")


def integers(net, pictures, activations: str) -> QuantizedNetwork:
    net.metadata = Metadata(Preprocessing(SIZE, short_side=None))
    return shufflenet.quantize(net, pictures, activations=activations, pictures=8)


def logits(net, x) -> np.ndarray:
    with torch.inference_mode():
        return net(x).numpy()


def silence(net) -> None:
    """Channels that training has given up: weights next to nothing, and a bias, before a residual is added."""
    norm = net.stage2[1].expand[1]
    for first, scale in enumerate((1e-6, 1e-12, 1e-30)):
        norm.weight.data[first::7] = scale


# A residual within a layer's sums; one that a gate leaves by itself; two layers that are added; pieces and gates of other scales.
@pytest.mark.parametrize(
    ("name", "activations", "change"),
    [
        ("shufflenet_x0_25_g3", "u8", None),
        ("shufflenet_x0_25_g3", "s8", silence),
        ("shufflenet_x0_25_g3_se", "s8", None),
        ("resnet_like_13m", "u8", None),
        ("mobilenet_x0_25", "u8", None),
    ],
)
def test_torch_gives_the_bytes_of_the_reference(name, activations, change, pictures, monkeypatch):
    net = untrained(name, SIZE)
    if change:
        change(net)
    quantized = integers(net, pictures, activations)
    graph = simplify(read_onnx(to_onnx(Exportable(quantized, SIZE)), SIZE))
    x = next(iter(CalibrationInputs(pictures, net, 2, seed=1)))
    x[1] = 4 * torch.randn(x[1].shape, generator=torch.Generator().manual_seed(0))  # beyond all ranges
    joined = []
    monkeypatch.setattr(codes, "_joined", lambda made, *rest: joined.append(made.layer) or _joined(made, *rest))
    found = logits(quantized, x)
    foreseen = joining(quantized.net)
    layers = [node.args[0].target for node in quantized.net.graph.nodes if node.target in foreseen]
    assert joined == [quantized.layers()[layer] for layer in layers]
    for picture, ours in zip(x, found, strict=True):
        (expected,) = interpret(graph, {"input": picture[None].numpy()}).values()
        np.testing.assert_array_equal(ours, expected[0])
    assert np.isfinite(found).all()
    assert len(np.unique(found)) > 100


def test_torch_gives_the_bytes_of_the_compiled_c(pictures, tmp_path):
    net = shufflenet.load("fashion-mnist/shufflenet_x0_25_g8")
    quantized = shufflenet.load(shufflenet.save(shufflenet.quantize(net, pictures, pictures=64), tmp_path / "int8"))
    x = next(iter(CalibrationInputs(pictures, net, 32, seed=1)))
    found = logits(quantized, x)
    run = shufflenet.compile(quantized)
    np.testing.assert_array_equal(found, np.stack([run(picture.numpy()) for picture in x]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(logits(quantized, x), found)
    x[0, 0, 3, 5] = torch.nan
    np.testing.assert_array_equal(logits(quantized, x[:1])[0], run(x[0].numpy()))


@given(
    groups=st.integers(1, 3),
    inputs=st.sampled_from([1, 4, 600]),
    outputs=st.integers(1, 3),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_are_exact(groups, inputs, outputs, kernel, stride, dilation, extreme, seed):
    """Those that no float32 could hold too."""
    random = np.random.default_rng(seed)
    shape = inputs * groups, outputs * groups, kernel, stride
    layer = IntegerLayer(nn.Conv2d(*shape, padding=kernel // 2, dilation=dilation, groups=groups))
    weight = random.integers(-127, 128, layer.weight.shape)
    weight = np.where(weight < 0, -127, 127) if extreme else weight
    layer.weight = torch.from_numpy(weight).to(torch.int8)
    layer.bias = torch.from_numpy(random.integers(-(2**30), 2**30, outputs * groups)).int()
    quantizer = Quantizer("u8")
    quantizer.zero_point.fill_(7)
    codes = np.where(weight[:1].repeat(2, 0).repeat(groups, 1)[..., :1, :1] < 0, 0, 255).repeat(5, 2).repeat(6, 3)
    codes = codes if extreme else random.integers(0, 256, codes.shape)
    entering = Codes(torch.from_numpy(codes).float(), quantizer)
    exact = nn.functional.conv2d(
        torch.from_numpy(codes - 7).double(), torch.from_numpy(weight).double(), layer.bias.double(),
        stride, kernel // 2, dilation, groups,
    )  # fmt: skip
    np.testing.assert_array_equal(Layer(layer, entering).sums.totals.numpy(), exact.numpy().astype(np.int64))
