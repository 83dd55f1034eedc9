"""float16: what it costs is measured, and what it cannot hold is named."""

import numpy as np
import pytest

from shufflenet.compiler import CompileError, compile_onnx
from shufflenet.compiler.graph.ir import RELU
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.graph.rounding import measure_rounding
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.simplify.halve import halve

from ..kernels import Net, products
from ..networks import Builder


def pictures(graph, scale=1.0):
    random = np.random.default_rng(0)
    return [{port.name: scale * random.standard_normal(port.shape).astype(np.float32) for port in graph.inputs}]


def test_a_halved_graph_keeps_the_rules_and_its_numbers_are_halves():
    graph = products()
    halved = verify(halve(graph, tensors=True))
    for name, value in interpret(halved, *pictures(graph)).items():
        np.testing.assert_array_equal(value, value.astype(np.float16), err_msg=name)
    found = measure_rounding(graph, halved, pictures(graph))
    assert 1e-4 < found.largest_difference < 3e-3
    weights_alone = measure_rounding(graph, halve(graph, tensors=False), pictures(graph))
    assert 1e-5 < weights_alone.largest_difference < found.largest_difference


def test_a_layer_that_overflows_on_a_picture_is_named():
    net = Net()
    x = net.input(4, 5, 5)
    y = net.convolution(x, 4)
    z = net.convolution(y, 4, activation=RELU)
    net.convolution(z, 4)
    name = next(operation.name for operation in net.graph.operations if operation.output == y)
    halved = halve(net.graph, tensors=True)
    measure_rounding(net.graph, halved, pictures(net.graph))
    with pytest.raises(
        CompileError, match=rf"^{name} comes to \d+ on a calibration picture, and the largest float16 is 65504"
    ):
        measure_rounding(net.graph, halved, pictures(net.graph, 50000.0))
    measure_rounding(net.graph, halve(net.graph, tensors=False), pictures(net.graph, 50000.0))


def model(scale=1.0, kernel=3):
    builder = Builder()
    weight = builder.constant(scale * builder.random.standard_normal((32, 32, kernel, kernel)))
    y = builder.node("Relu", builder.node("Conv", "x", weight, builder.weights(32), pads=[kernel // 2] * 4))
    return builder.model({"x": (1, 32, 14, 14)}, [y])


def test_a_weight_beyond_float16_is_named():
    with pytest.raises(
        CompileError, match=r"has a weight of [\d.e+]+, and the largest float16 is 65504; compile .* float32"
    ):
        compile_onnx(model(1e5), weights="float16")


def test_pictures_that_do_not_fit_are_refused():
    with pytest.raises(CompileError, match=r"a calibration picture is \(32, 7, 7\); the network takes \(32, 14, 14\)"):
        compile_onnx(model(), element="float16", calibration=[np.zeros((32, 7, 7), np.float32)])


@pytest.mark.parametrize(("element", "word"), [("float16", "Half precision"), ("float32", "Weights are float16")])
def test_a_file_says_what_it_computes_with_and_holds_half_the_bytes(element, word):
    """Of a dense 3×3, too: Winograd's weights are for float32, which has them beside the others."""
    usual, halves = (
        compile_onnx(model(kernel=1), embed=False),
        compile_onnx(model(kernel=1), embed=False, element=element, weights="float16"),
    )
    assert usual.rounding is None
    assert halves.rounding.largest_difference < 2e-3
    assert word in halves.source.h
    assert word in halves.source.c
    assert word not in usual.source.h
    slack = 256  # that both end with
    assert len(halves.source.weights) - slack == (len(usual.source.weights) - slack) // 2
    dense, dense_halves = compile_onnx(model(), embed=False), compile_onnx(model(), embed=False, weights="float16")
    assert len(dense_halves.source.weights) < len(dense.source.weights) / 4
    if element == "float16":
        assert halves.plan.arena_bytes < 0.6 * usual.plan.arena_bytes
