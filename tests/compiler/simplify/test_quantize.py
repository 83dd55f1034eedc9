"""QDQ networks: read, turned into integer operations, and held to ONNX Runtime on the same file."""

import random

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shufflenet import nets
from shufflenet.compiler import CompileError
from shufflenet.compiler.graph.integers import (
    Requantization,
    addend_factors,
    addition,
    dequantize,
    holds_codes,
    quantization,
    quantize,
    requantization,
)
from shufflenet.compiler.graph.ir import Convolution, Dequantize, Elementwise, Graph, Quantization, Quantize, Tensor
from shufflenet.compiler.graph.reference import execute, interpret
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify, stages
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from ..networks import random_network, run_onnxruntime
from ..quantized import FORMS, pictures, quantized

SLOW = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SIZE = (48, 48)


def one(outputs: dict[str, np.ndarray]) -> np.ndarray:
    (array,) = outputs.values()
    return array


@pytest.fixture(scope="module")
def networks() -> dict[str, onnx.ModelProto]:
    """As a trained network is: statistics at random, but no channel dead."""
    found = {}
    for name in ("shufflenet_x0_25_g3", "shufflenet_x0_25_g8", "shufflenet_x0_5_g3_se", "mobilenet_x0_25"):
        torch.manual_seed(0)
        net = nets.create(name, num_classes=100).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.0)
                torch.nn.init.normal_(module.bias, 0.0, 0.2)
        found[name] = to_onnx(Exportable(net, SIZE))
    return found


CASES = [
    *(("shufflenet_x0_25_g3", form) for form in FORMS),
    ("shufflenet_x0_25_g8", "u8s8 per channel"),
    ("shufflenet_x0_5_g3_se", "u8s8 per channel"),
    ("mobilenet_x0_25", "s8s8 per channel"),
]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_whole_networks_compute_what_onnxruntime_does(networks, name, form, tmp_path):
    model = networks[name]
    int8 = quantized(model, pictures(model, 4), tmp_path, form)
    graph = simplify(read_onnx(int8, SIZE))
    ours, theirs = [], []
    for inputs in pictures(model, 4, first=100):
        expected, found = one(run_onnxruntime(int8, inputs)), one(interpret(graph, inputs))
        ours.append(np.abs(found - expected).mean())
        theirs.append(np.abs(one(run_onnxruntime(model, inputs)) - expected).mean())
        assert found.argmax() == expected.argmax() or np.ptp(np.sort(expected)[..., -2:]) <= 2 * theirs[-1]
    assert np.mean(ours) <= np.mean(theirs), "both round to codes, and differ by no more than rounding itself costs"
    if "_se" not in name:
        floats = [o for o in graph.operations if not holds_codes(graph, o.output) and not isinstance(o, Dequantize)]
        assert not floats, "everything works on codes"


def check_stages(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> Graph:
    """Every stage stays as near to the file's meaning, float32 between codes, as roundings of single codes allow."""
    all_stages = list(stages(read_onnx(model)))
    expected = interpret(all_stages[0][1], inputs)
    for stage, graph in all_stages[1:]:
        for name, array in interpret(graph, inputs).items():
            error = np.abs(array - expected[name]).mean() / max(np.ptp(expected[name]), 1e-6)
            assert error < 0.03, f"{name} after {stage}"
    return all_stages[-1][1]


@given(seed=st.integers(0, 10**6), form=st.sampled_from(list(FORMS)))
@settings(SLOW, max_examples=15)
def test_random_networks_keep_their_meaning(seed, form, tmp_path_factory):
    model = random_network(random.Random(seed).choice, seed)
    int8 = quantized(model, pictures(model, 2), tmp_path_factory.mktemp("random"), form)
    check_stages(int8, pictures(model, 1, first=50)[0])


def qdq(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: tuple[int, ...], opset: int = 13):
    """A network from `x` to `y` of these nodes."""
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def node(kind: str, inputs: str, outputs: str, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), name=f"{kind}_{outputs}", **attributes)


def convolution(weight: np.ndarray, scales: tuple[float, float, float], zeros: tuple, opset: int = 13, **attributes):
    """Q → DQ → Conv → Q → DQ, with an int32 bias that a DequantizeLinear of its own makes."""
    out = len(weight)
    x_scale, w_scale, y_scale = (np.float32(scale) for scale in scales)
    w_scales = np.full(out, w_scale) * np.linspace(0.5, 1, out, dtype=np.float32)
    constants = {
        "xs": np.array(x_scale), "xz": zeros[0], "ys": np.array(y_scale), "yz": zeros[1], "ws": w_scales,
        "w": weight, "wz": np.zeros(out, np.int8), "b": np.arange(-out, out, 2, dtype=np.int32) * 300,
        "bs": x_scale * w_scales, "bz": np.zeros(out, np.int32),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("DequantizeLinear", "b bs bz", "bd", axis=0),
        node("Conv", "xd wd bd", "c", **attributes),
        node("QuantizeLinear", "c ys yz", "yq"),
        node("DequantizeLinear", "yq ys yz", "y"),
    ]
    return nodes, constants


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize(
    "zeros", [(np.uint8(0), np.uint8(255)), (np.uint8(131), np.uint8(7)), (np.int8(-128), np.int8(3))]
)
@pytest.mark.parametrize("scales", [(0.02, 0.01, 0.05), (0.02, 0.01, 1e-6), (1e-3, 1e-4, 1.0), (0.02, 3.0, 0.05)])
def test_a_convolution_gives_onnxruntimes_codes(opset, zeros, scales):
    """Odd sizes, padding, saturating sums, all weights from −128 to 127. Where ONNX Runtime sums up float32, a tie goes either way."""
    random = np.random.default_rng(0)
    weight = random.integers(-128, 128, (7, 5, 3, 3)).astype(np.int8)
    nodes, constants = convolution(weight, scales, zeros, opset, pads=[1, 1, 1, 1], strides=[2, 1])
    model = qdq(nodes, constants, (1, 5, 9, 11), opset)
    inputs = {"x": (random.standard_normal((1, 5, 9, 11)) * 200 * scales[0]).astype(np.float32)}
    graph = simplify(read_onnx(model))
    assert [type(o) for o in graph.operations] == [Quantize, Convolution, Dequantize]
    steps = (one(interpret(graph, inputs)) - one(run_onnxruntime(model, inputs))) / np.float32(scales[2])
    assert np.abs(steps).max() < 1.01
    assert (np.abs(steps) > 0.5).mean() < 0.01


@pytest.mark.parametrize("kind", ["Relu", "Clip"])
def test_limits_become_codes(kind):
    weight = np.random.default_rng(0).integers(-128, 128, (4, 4, 1, 1)).astype(np.int8)
    nodes, constants = convolution(weight, (0.02, 0.01, 0.05), (np.uint8(3), np.uint8(100)))
    bounds = {"low": np.array(-1, np.float32), "high": np.array(2, np.float32)} if kind == "Clip" else {}
    nodes[5:6] = [node(kind, " ".join(["c", *bounds]), "r"), node("QuantizeLinear", "r ys yz", "yq")]
    model = qdq(nodes, constants | bounds, (1, 4, 5, 5))
    inputs = {"x": np.random.default_rng(1).standard_normal((1, 4, 5, 5)).astype(np.float32)}
    graph = simplify(read_onnx(model))
    assert [type(o) for o in graph.operations] == [Quantize, Convolution, Dequantize]
    np.testing.assert_array_equal(one(interpret(graph, inputs)), one(run_onnxruntime(model, inputs)))


def test_a_sum_that_is_not_quantized_becomes_numbers():
    """A network's last convolution: int8 weights, float32 out."""
    weight = np.random.default_rng(0).integers(-128, 128, (4, 4, 1, 1)).astype(np.int8)
    nodes, constants = convolution(weight, (0.02, 0.01, 0.05), (np.uint8(3), np.uint8(0)))
    nodes = [*nodes[:4], node("Conv", "xd wd bd", "y")]
    model = qdq(nodes, constants, (1, 4, 5, 5))
    graph = simplify(read_onnx(model))
    assert [type(o) for o in graph.operations] == [Quantize, Convolution]
    assert graph.constants[graph.operations[1].weight].dtype == np.int8
    inputs = {"x": np.random.default_rng(1).standard_normal((1, 4, 5, 5)).astype(np.float32)}
    expected = one(run_onnxruntime(model, inputs))
    np.testing.assert_allclose(one(interpret(graph, inputs)), expected, rtol=1e-5, atol=1e-5)


def test_a_residual_is_in_the_sum_of_a_channel_with_tiny_weights_too():
    """As of a channel that training has silenced: its weights' scale would ask for a factor beyond 16 bits."""
    weight = np.random.default_rng(0).integers(-50, 50, (4, 4, 1, 1)).astype(np.int8)
    nodes, constants = convolution(weight, (0.02, 0.01, 0.05), (np.uint8(3), np.uint8(0)))
    constants |= {"ws": np.array([0.01, 1e-7, 1e-30, 2e-6], np.float32), "rs": np.float32(0.02), "rz": np.uint8(128)}
    constants["bs"] = np.float32(0.02) * constants["ws"]
    nodes[-2:] = [
        node("QuantizeLinear", "c rs rz", "rq"), node("DequantizeLinear", "rq rs rz", "branch"),
        node("Add", "branch xd", "sum"), node("QuantizeLinear", "sum ys yz", "yq"), node("DequantizeLinear", "yq ys yz", "y"),
    ]  # fmt: skip
    model = qdq(nodes, constants, (1, 4, 5, 7))
    graph = simplify(read_onnx(model))
    assert [type(o) for o in graph.operations] == [Quantize, Convolution, Dequantize]
    inputs = {"x": np.random.default_rng(1).standard_normal((1, 4, 5, 7)).astype(np.float32)}
    found, expected = one(interpret(graph, inputs)), one(run_onnxruntime(model, inputs))
    assert found[0, 1:].any()
    reach = np.abs(expected[0, 0]).max()
    assert reach > 1
    assert np.abs(found - expected).max() < 0.051, "a code, where the file rounds the branch before it adds"


def test_what_has_no_integer_form_stays_float():
    """A softmax, and a convolution whose weights are numbers."""
    constants = {"s": np.array(0.02, np.float32), "z": np.uint8(9), "w": np.ones((3, 3, 1, 1), np.float32)}
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node("Conv", "d w", "c"),
        node("QuantizeLinear", "c s z", "q2"), node("DequantizeLinear", "q2 s z", "d2"), node("Softmax", "d2", "y", axis=1),
    ]  # fmt: skip
    model = qdq(nodes, constants, (1, 3, 4, 4))
    inputs = {"x": np.random.default_rng(1).standard_normal((1, 3, 4, 4)).astype(np.float32)}
    graph = simplify(read_onnx(model))
    np.testing.assert_allclose(one(interpret(graph, inputs)), one(run_onnxruntime(model, inputs)), atol=1e-6)


@given(
    scales=st.tuples(*[st.floats(1e-4, 1e2)] * 3),
    zeros=st.tuples(*[st.integers(0, 255)] * 3),
)
@settings(SLOW, max_examples=50)
def test_an_addition_in_integers_is_within_a_code_of_the_numbers(scales, zeros):
    """All pairs of codes."""
    left, right, to = (Quantization(float(np.float32(s)), z) for s, z in zip(scales, zeros, strict=True))
    tensors = {n: Tensor(n, 1, 256, 256, "uint8", q) for n, q in (("l", left), ("r", right), ("y", to))}
    views = {n: t.whole for n, t in tensors.items()}
    operation = Elementwise(name="y", output=views["y"], kind="add", left=views["l"], right=views["r"])
    how = addition(Graph((), (), (operation,), tensors), operation)
    assert max(how.left, how.right) <= 32767
    lefts, rights = np.meshgrid(np.arange(256), np.arange(256))
    largest = 255 * (how.left + how.right) + abs(how.offset)
    assert largest < 2**31
    if max(left.scale, right.scale) / to.scale < 32767:
        exact = dequantize(lefts, left).astype(float) + dequantize(rights, right)
        expected = np.clip(np.rint(exact / to.scale) + to.zero_point, 0, 255)
        error = 0.5 + 255 * (left.scale + right.scale) / max(left.scale, right.scale) * 2**-15
        real = np.clip(exact / to.scale + to.zero_point, 0, 255)
        assert np.abs(how(lefts, rights) - real).max() <= error * max(1, max(left.scale, right.scale) / to.scale) + 0.51
        assert np.abs(how(lefts, rights).astype(int) - expected).max() <= 1 + max(left.scale, right.scale) / to.scale


def test_quantize_is_onnxs():
    of = Quantization(float(np.float32(0.1)), 7)
    numbers = np.array([np.nan, np.inf, -np.inf, 0.05, 0.15, 0.25, -0.35, 1e30, 24.8, -0.7], np.float32)
    assert quantize(numbers, of).tolist() == [0, 255, 0, 7, 9, 9, 3, 255, 255, 0]
    assert Requantization(np.float32(0.5), 10, 0, 255)(np.array([1, 3, 5, -1, 10**9, -(10**9)])).tolist() == [
        10, 12, 12, 10, 255, 0,
    ]  # fmt: skip


BAD = {
    "has 4 scales for numbers of the network": {"xs": np.full(4, 0.1, np.float32), "xz": np.zeros(4, np.uint8)},
    "it must be positive and finite": {"xs": np.array(0, np.float32)},
    "uint8 and int8 are compiled": {"xz": np.uint16(3), "yz": np.uint8(0)},
}


@pytest.mark.parametrize("sentence", BAD)
def test_what_cannot_be_read_is_named(sentence):
    weight = np.ones((4, 4, 1, 1), np.int8)
    nodes, constants = convolution(weight, (0.02, 0.01, 0.05), (np.uint8(3), np.uint8(0)))
    model = qdq(nodes, constants | BAD[sentence], (1, 4, 5, 5), 21)
    with pytest.raises(CompileError, match=sentence) as error:
        read_onnx(model)
    assert "'QuantizeLinear_xq'" in str(error.value)


def test_codes_that_are_read_as_they_are_or_for_other_numbers_are_refused():
    weight = np.ones((4, 4, 1, 1), np.int8)
    nodes, constants = convolution(weight, (0.02, 0.01, 0.05), (np.uint8(3), np.uint8(0)))
    with pytest.raises(CompileError, match="same scale, zero point and element type"):
        read_onnx(qdq([nodes[0], node("DequantizeLinear", "xq ys yz", "y")], constants, (1, 4, 5, 5)))
    with pytest.raises(CompileError, match="put a DequantizeLinear before it"):
        read_onnx(qdq([nodes[0], node("MaxPool", "xq", "y", kernel_shape=[2, 2])], constants, (1, 4, 5, 5)))
    with pytest.raises(CompileError, match="let the network end with a DequantizeLinear"):
        read_onnx(qdq([node("QuantizeLinear", "x xs xz", "y")], constants, (1, 4, 5, 5)))


def test_every_sum_fits_int32(networks, tmp_path):
    """What a kernel relies on: no order of a sum leaves int32, and its scale and zero points are in range."""
    model = networks["shufflenet_x0_25_g3"]
    graph = simplify(read_onnx(quantized(model, pictures(model, 2), tmp_path), SIZE))
    execute(graph, pictures(model, 1)[0])
    for operation in graph.operations:
        if isinstance(operation, Convolution):
            weight = graph.constants[operation.weight].astype(np.int64)
            largest = np.abs(weight).sum(axis=(1, 2, 3)) * 255 + np.abs(
                graph.constants[operation.bias].astype(np.int64)
            )
            if operation.addend is not None:
                added = addend_factors(graph, operation)
                assert added.fit
                largest = (largest << added.shifts.reshape(-1)) + 255 * added.factors.reshape(-1)
            assert largest.max() < 2**31
            numbers = requantization(graph, operation)
            assert numbers.scale.dtype == np.float32
            assert 0 <= quantization(graph, operation.input).zero_point <= 255
