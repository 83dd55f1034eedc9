"""Every operator that is read, against ONNX Runtime, and every refusal."""

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Convolution, Copy, GlobalPool, Graph
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import stages

from ..networks import SHUFFLES, Builder, difference, random_inputs, run_onnxruntime, shuffle


def check(model: onnx.ModelProto, inputs: dict[str, np.ndarray] | None = None, tolerance: float = 2e-6) -> Graph:
    """Hold what is read, and what becomes of it, to ONNX Runtime."""
    inputs = inputs or random_inputs(model)
    expected = run_onnxruntime(model, inputs)
    graph = read_onnx(model)
    for stage, current in stages(graph):
        found = interpret(current, inputs)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert difference(found[name], array) <= tolerance, f"{name} after {stage}"
    return graph


def one(
    kind: str, *constants: np.ndarray, shape: tuple[int, ...] = (1, 6, 9, 7), opset: int = 17, **attributes
) -> onnx.ModelProto:
    """A network of one node; `constants` are its further inputs."""
    builder = Builder(opset=opset)
    names = [builder.constant(c, c.dtype) for c in constants]
    return builder.model({"x": shape}, [builder.node(kind, "x", *names, **attributes)])


def built(
    build: Callable[[Builder], str | list[str]], shape: tuple[int, ...] = (1, 6, 9, 7), opset: int = 17
) -> onnx.ModelProto:
    builder = Builder(opset=opset)
    outputs = build(builder)
    return builder.model({"x": shape}, [outputs] if isinstance(outputs, str) else outputs)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


CONVOLUTIONS = {
    "3x3": (normal(4, 6, 3, 3), {"pads": [1] * 4}),
    "bias is None": (normal(4, 6, 1, 1), {}),
    "groups": (normal(9, 2, 3, 3), {"group": 3, "strides": [2, 2]}),
    "depthwise": (normal(6, 1, 3, 3), {"group": 6, "pads": [1] * 4, "strides": [2, 1]}),
    "depthwise, two outputs a channel": (normal(12, 1, 3, 3), {"group": 6}),
    "asymmetric": (normal(4, 6, 4, 3), {"pads": [2, 0, 1, 3], "strides": [2, 3]}),
    "dilated": (normal(4, 6, 3, 2), {"pads": [2, 1, 2, 1], "dilations": [2, 3]}),
    "same upper": (normal(4, 6, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": (normal(4, 6, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    "valid": (normal(4, 6, 3, 4), {"auto_pad": "VALID"}),
    "whole plane": (normal(4, 6, 9, 7), {}),
    "padding beyond the kernel": (normal(2, 6, 2, 2), {"pads": [3, 3, 3, 3], "strides": [3, 3]}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("biased", [False, True])
def test_convolution(name, biased):
    weight, attributes = CONVOLUTIONS[name]
    check(one("Conv", weight, *([normal(len(weight))] if biased else []), **attributes))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("shape", [(1, 3, 9, 7), (1, 3, 8, 8), (1, 2, 7, 10)])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1},
        {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [0, 1, 1, 0]},
        {"kernel_shape": [3, 2], "strides": [3, 2], "pads": [1, 0, 2, 1], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"kernel_shape": [1, 1], "strides": [2, 2]},
    ],
)
@pytest.mark.parametrize("counts_padding", [0, 1])
def test_pool(kind, shape, attributes, counts_padding):
    if kind == "AveragePool":
        attributes = attributes | {"count_include_pad": counts_padding}
    check(one(kind, shape=shape, opset=22, **attributes))


@pytest.mark.parametrize("opset", [11, 22])
def test_dilated_pool(opset):
    check(one("MaxPool", kernel_shape=[2, 3], dilations=[3, 2], strides=[2, 1], pads=[1, 1, 1, 1], opset=opset))
    if opset == 22:
        check(one("AveragePool", kernel_shape=[2, 3], dilations=[3, 2], pads=[1, 1, 1, 1], opset=opset))


ACTIVATIONS = {
    "relu": one("Relu"),
    "sigmoid": one("Sigmoid"),
    "leaky relu": one("LeakyRelu", alpha=0.2),
    "hard sigmoid": one("HardSigmoid", alpha=0.3, beta=0.4),
    "hard sigmoid by default": one("HardSigmoid"),
    "hard swish": one("HardSwish"),
    "relu6": one("Clip", np.float32(0), np.float32(6)),
    "clip below": one("Clip", np.float32(-0.5)),
    "clip of old": one("Clip", min=-0.5, max=0.25, opset=9),
    "parametric relu of one slope": one("PRelu", np.full((6, 1, 1), 0.3, np.float32)),
    "larger of": one("Max", np.float32(0.1)),
    "smaller of": one("Min", np.float32(0.1)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    model = ACTIVATIONS[name]
    check(model)
    special = np.array([np.nan, -np.inf, -0.0, 0.0, 1.0, -2.0, 7.0, np.inf], np.float32)
    if name in ("clip below", "larger of", "smaller of"):
        # ONNX takes a bound left out for the largest float, we for infinity.
        special = special[np.abs(special) != np.inf]
    special = np.resize(special, (1, 6, 9, 7))
    check(model, {"x": special})


ARITHMETIC = {
    "add a number": lambda b: b.node("Add", "x", b.constant(1.5)),
    "subtract a number": lambda b: b.node("Sub", "x", b.constant(1.5)),
    "subtract from a number": lambda b: b.node("Sub", b.constant(1.5), "x"),
    "multiply by a number a channel": lambda b: b.node("Mul", b.weights(6, 1, 1), "x"),
    "divide by a number a channel": lambda b: b.node("Div", "x", b.constant(np.arange(1, 7).reshape(1, 6, 1, 1))),
    "negate": lambda b: b.node("Neg", "x"),
    "batch normalisation": lambda b: b.batch_normalization("x", 6),
    "sum of three": lambda b: b.node("Sum", "x", b.node("Relu", "x"), "x"),
    "sum with a constant": lambda b: b.node("Sum", b.constant(1.0), "x", b.weights(6, 1, 1)),
    "difference": lambda b: b.node("Sub", b.node("Relu", "x"), "x"),
    "product": lambda b: b.node("Mul", b.node("Relu", "x"), "x"),
    "number a channel times planes": lambda b: b.node("Mul", b.node("GlobalAveragePool", "x"), "x"),
    "plane times planes": lambda b: b.node("Mul", "x", b.node("Conv", "x", b.weights(1, 6, 1, 1))),
    "one number times planes": lambda b: b.node("Mul", "x", b.node("GlobalMaxPool", b.slice("x", 2, 3))),
    "expanded number a channel": lambda b: b.node(
        "Mul", "x", b.node("Expand", b.node("GlobalAveragePool", "x"), b.integers(1, 6, 9, 7))
    ),
    "planes in another order": lambda b: b.node("Add", "x", b.slice("x", -1, -100, step=-1)),
    "normalised channels last": lambda b: b.node(
        "Transpose",
        b.node("Add", b.node("Mul", b.node("Transpose", "x", perm=[0, 2, 3, 1]), b.weights(6)), b.weights(6)),
        perm=[0, 3, 1, 2],
    ),
    "gated channels last": lambda b: b.node(
        "Transpose",
        b.node(
            "Mul",
            b.node("Transpose", "x", perm=[0, 2, 3, 1]),
            b.reduce_mean(b.node("Transpose", "x", perm=[0, 2, 3, 1]), (1, 2)),
        ),
        perm=[0, 3, 1, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name):
    check(built(ARITHMETIC[name]))


SCALES = np.zeros(0, np.float32), np.array([1, 1, 2, 3], np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("factors", [(2, 2), (1, 4), (3, 1), (0.5, 0.25), (1.5, 2.4)])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
)
def test_resize(mode, factors, coordinates):
    scales = np.array([1, 1, *factors], np.float32)
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    check(one("Resize", SCALES[0], scales, shape=(1, 3, 8, 12), opset=19, **attributes), tolerance=1e-5)


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_of_each_rounding(rounding):
    check(one("Resize", *SCALES, opset=13, mode="nearest", nearest_mode=rounding))


def test_resize_to_a_size():
    sizes = integers(1, 6, 18, 21)
    empty = np.zeros(0, np.float32)
    check(one("Resize", empty, empty, sizes, opset=13, mode="linear"), tolerance=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("kind", ["Resize", "Upsample"])
def test_resize_of_older_opsets(kind, mode):
    scales = np.array([1, 1, 2, 3], np.float32)
    check(one(kind, scales, opset=10 if kind == "Resize" else 9, mode=mode), tolerance=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2]},
        {"strides": [2, 3], "pads": [1, 0, 2, 1]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 2], "pads": [3, 2, 3, 2]},
        {"dilations": [2, 1], "strides": [2, 1]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "output_shape": [18, 14]},
    ],
)
@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("biased", [False, True])
def test_transposed_convolution(attributes, groups, biased):
    bias = [normal(2 * groups)] if biased else []
    check(one("ConvTranspose", normal(6, 2, 3, 3), *bias, group=groups, **attributes), tolerance=1e-5)


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1)])
def test_prelu_with_a_slope_a_channel(shape):
    x = normal(1, 6, 9, 7)
    x[0, :, 0, :3] = np.inf, -np.inf, np.nan
    slopes = np.array([0.25, -0.5, 0.0, 1.0, 2.0, 0.1], np.float32).reshape(shape)
    slopes[slopes == 0] = 0.75
    check(one("PRelu", slopes), {"x": x})


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_nodes_in_any_order(batch):
    model = built(lambda b: b.node("Relu", b.batch_normalization(b.node("Conv", "x", b.weights(4, 6, 3, 3)), 4)))
    ordered = check(model)
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    if isinstance(batch, str):
        first.dim_param = batch
    else:
        first.dim_value = batch
    outputs = read_onnx(model).outputs
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert str(read_onnx(model)) == str(ordered)
    assert read_onnx(model).outputs == outputs
    assert outputs[0].batch == 0


@pytest.mark.parametrize("read", [0, 1, 2])
@pytest.mark.parametrize("opset", [11, 13])
def test_a_part_that_is_read_alone(read, opset):
    """How many parts a tensor is split into does not depend on how many of them are read."""
    check(built(lambda b: b.node("Relu", b.split("x", [2, 3, 1])[read]), opset=opset))
    check(built(lambda b: b.node("Relu", b.nodes_of("Split", 3, "x", axis=1)[read]), opset=opset))


def test_what_nothing_reads_is_passed_over():
    """Dropout's mask, a pool's indices, and a whole branch of operators that are not compiled."""
    b = Builder()
    x = b.nodes_of("MaxPool", 2, b.nodes_of("Dropout", 2, "x")[0], kernel_shape=[2, 2])[0]
    b.node("NonZero", b.node("Cast", "dropout0b", to=TensorProto.FLOAT))
    check(b.model({"x": (1, 6, 9, 7)}, [b.node("Relu", x)]))


PARTIAL_MEANS = {
    "mean of columns, then of rows": lambda b: b.reduce_mean(b.reduce_mean("x", (3,)), (2,)),
    "mean of rows, dropped, then of the rest": lambda b: b.reduce_mean(b.reduce_mean("x", (2,), keepdims=0), (2,)),
    "mean of columns": lambda b: b.reduce_mean("x", (3,)),
    "mean of rows, channels last": lambda b: b.node(
        "Transpose", b.reduce_mean(b.node("Transpose", "x", perm=[0, 2, 3, 1]), (1,)), perm=[0, 3, 1, 2]
    ),
    "mean of channels": lambda b: b.reduce_mean("x", (1,)),
    "mean of a group's channels": lambda b: b.reduce_mean(b.reshape("x", 1, 2, 3, 9, 7), (2,)),
    "mean of rows and channels": lambda b: b.reduce_mean("x", (1, 2), keepdims=0),
    "mean of all": lambda b: b.reduce_mean("x", (1, 2, 3)),
}


@pytest.mark.parametrize("name", PARTIAL_MEANS)
@pytest.mark.parametrize("opset", [13, 18])
def test_mean_of_parts(name, opset):
    check(built(PARTIAL_MEANS[name], opset=opset))


MEANS = {
    "average": lambda b: b.node("GlobalAveragePool", "x"),
    "largest": lambda b: b.node("GlobalMaxPool", "x"),
    "mean, dimensions kept": lambda b: b.reduce_mean("x", (2, 3)),
    "mean, dimensions dropped": lambda b: b.reduce_mean("x", (-1, -2), keepdims=0),
    "mean of pixels in one dimension": lambda b: b.reduce_mean(b.reshape("x", 1, 6, -1), (2,)),
    "mean channels last": lambda b: b.reduce_mean(b.node("Transpose", "x", perm=[0, 2, 3, 1]), (1, 2), keepdims=0),
    "pool of a whole plane": lambda b: b.node("AveragePool", "x", kernel_shape=[9, 7]),
    "largest of rows and columns": lambda b: (
        b.node("ReduceMax", "x", axes=[2, 3]) if b.opset < 18 else b.node("ReduceMax", "x", b.integers(2, 3))
    ),
}


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("opset", [13, 18])
def test_mean(name, opset):
    graph = check(built(MEANS[name], opset=opset))
    *_, (_, simplified) = stages(graph)
    assert [type(operation) for operation in simplified.operations] == [GlobalPool]


CONNECTIONS = {
    "transposed": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.weights(5, 378), b.weights(5), transB=1),
    "scaled": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.weights(378, 5), b.weights(1, 5), alpha=0.5, beta=2.0),
    "without bias": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.weights(378, 5)),
    "bias of one number": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.weights(378, 5), b.constant([0.5])),
    "product, then sum": lambda b: b.node(
        "Add", b.node("MatMul", b.reshape("x", 1, -1), b.weights(378, 5)), b.weights(5)
    ),
    "flattened channels last": lambda b: b.node(
        "MatMul", b.reshape(b.node("Transpose", "x", perm=[0, 2, 3, 1]), 1, -1), b.weights(378, 5)
    ),
    "some of the numbers": lambda b: b.node(
        "MatMul", b.slice(b.node("Flatten", "x"), 3, 200, step=7), b.weights(29, 5)
    ),
    "some of the numbers twice": lambda b: b.node(
        "MatMul", b.node("Gather", b.node("Flatten", "x"), b.integers(7, 3, 7, 9), axis=1), b.weights(4, 5)
    ),
    "at every pixel": lambda b: b.node(
        "Transpose", b.node("MatMul", b.node("Transpose", "x", perm=[0, 2, 3, 1]), b.weights(6, 4)), perm=[0, 3, 1, 2]
    ),
    "two in a row": lambda b: b.node(
        "Gemm", b.node("Relu", b.node("Gemm", b.node("Flatten", "x"), b.weights(378, 8), b.weights(8))), b.weights(8, 3)
    ),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_full_connection(name):
    check(built(CONNECTIONS[name]))


@pytest.mark.parametrize("spelling", SHUFFLES)
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("opset", [11, 17])
def test_channel_shuffle_costs_nothing(spelling, groups, opset):
    """Between a convolution and another, and at the end: only two convolutions are left."""

    def build(builder: Builder) -> list[str]:
        x = builder.node("Relu", builder.node("Conv", "x", builder.weights(6, 2, 1, 1), group=3))
        x = shuffle(builder, x, (6, 9, 7), groups, spelling)
        return [builder.node("Conv", x, builder.weights(6, 1, 3, 3), group=6, pads=[1] * 4)]

    *_, (_, simplified) = stages(check(built(build, opset=opset)))
    assert [type(operation) for operation in simplified.operations] == [Convolution, Convolution]
    depthwise = simplified.operations[1]
    assert depthwise.output.is_contiguous
    assert depthwise.inputs[0].is_contiguous


ADDRESSES = {
    "split equally": lambda b: [b.node("Relu", part) for part in b.nodes_of("Split", 3, "x", axis=1)],
    "split unequally": lambda b: [b.node("Relu", part) for part in b.split("x", [1, 3, 2])],
    "slice with steps": lambda b: b.node("Relu", b.slice("x", 5, 0, step=-2)),
    "slice to the first": lambda b: b.node("Relu", b.slice("x", -1, -(2**31), step=-1)),
    "gather one": lambda b: b.node(
        "Relu", b.reshape(b.node("Gather", "x", b.constant(2, np.int64), axis=1), 1, 1, 9, 7)
    ),
    "squeeze and unsqueeze": lambda b: b.node(
        "Unsqueeze", b.node("Squeeze", b.node("GlobalAveragePool", "x"), b.integers(2, 3)), b.integers(-1, 2)
    ),
    "squeeze all": lambda b: b.node("Squeeze", b.node("GlobalAveragePool", "x")),
    "concatenate": lambda b: b.node("Concat", "x", b.node("Relu", "x"), axis=1),
    "concatenate channels last": lambda b: b.node(
        "Transpose",
        b.node("Concat", *(b.node("Transpose", v, perm=[0, 2, 3, 1]) for v in ("x", b.node("Relu", "x"))), axis=-1),
        perm=[0, 3, 1, 2],
    ),
    "concatenate by stacking": lambda b: b.reshape(
        b.node("Concat", *(b.reshape(v, 1, 1, 6, 9, 7) for v in ("x", b.node("Relu", "x"))), axis=2), 1, 12, 9, 7
    ),
    "flatten from behind": lambda b: b.node("Flatten", b.node("Relu", "x"), axis=-3),
    "reshape keeping dimensions": lambda b: b.reshape(b.node("Relu", "x"), 0, 2, 3, 0, -1),
    "identity": lambda b: b.node("Identity", b.node("Dropout", "x")),
    "input is output": lambda b: b.node("Identity", "x"),
    "channels of the input are output": lambda b: b.split("x", [2, 4]),
    "same output twice": lambda b: [y := b.node("Relu", "x"), b.node("Identity", y)],
    "cast to what it is": lambda b: b.node("Cast", "x", to=1),
    "pad": lambda b: b.node("Pad", "x", b.integers(0, 0, 1, 2, 0, 0, 3, 0), b.constant(0.5)),
    "pad by nothing": lambda b: b.node("Pad", "x", b.integers(*[0] * 8)),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_address(name):
    check(built(ADDRESSES[name]))


def test_pad_of_axes():
    check(built(lambda b: b.node("Pad", "x", b.integers(1, 2, 0, 1), b.constant(0.0), b.integers(3, -2)), opset=18))
    check(one("Pad", pads=[0, 0, 1, 0, 0, 0, 2, 3], value=0.25, opset=9))


def test_split_into_a_number_of_outputs():
    check(
        built(
            lambda b: b.nodes_of("Split", 4, b.node("Relu", "x"), axis=1, num_outputs=4), shape=(1, 7, 3, 3), opset=18
        )
    )


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_local_response_normalisation(size):
    check(one("LRN", size=size, alpha=0.3, beta=0.6, bias=1.7))


@pytest.mark.parametrize(
    "build",
    [
        lambda b: b.node("Softmax", "x", axis=1),
        lambda b: b.node("Softmax", b.node("Flatten", b.node("GlobalAveragePool", "x"))),
        lambda b: b.node(
            "Transpose", b.node("Softmax", b.node("Transpose", "x", perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]
        ),
    ],
)
def test_softmax(build):
    check(built(build))


def test_softmax_before_opset_13_takes_the_rest_of_the_axes():
    check(built(lambda b: b.node("Softmax", b.node("GlobalAveragePool", "x")), opset=11))


def test_vector_and_several_inputs():
    builder = Builder()
    gate = builder.node("Sigmoid", builder.node("Gemm", "v", builder.weights(4, 6), builder.weights(6)))
    y = builder.node("Mul", "x", builder.reshape(gate, 1, 6, 1, 1))
    check(builder.model({"x": (1, 6, 9, 7), "v": (1, 4)}, [y, gate]))


def test_arithmetic_on_shapes_is_done_when_reading():
    """As TorchScript traces x.view(x.size(0), -1) and a shuffle, with an unused branch left over."""

    def build(builder: Builder) -> str:
        size = builder.node("Shape", "x")
        rows = builder.node("Gather", size, builder.constant(0, np.int64), axis=0)
        builder.node("ConstantOfShape", size)
        target = builder.node(
            "Concat", builder.node("Unsqueeze", rows, builder.integers(0)), builder.integers(-1), axis=0
        )
        y = builder.node("Reshape", builder.node("Relu", "x"), target)
        return builder.node("MatMul", y, builder.weights(378, 3))

    graph = check(built(build))
    assert len(graph.operations) == 2


def test_open_sizes_are_set():
    builder = Builder()
    x = shuffle(builder, builder.node("Conv", "x", builder.weights(6, 3, 1, 1)), (6, 0, 0), 3, "dynamic")
    model = builder.model({"x": ("n", 3, "h", "w")}, [x])
    graph = verify(read_onnx(model, size=(5, 4)))
    assert graph.inputs[0].shape == (1, 3, 5, 4)
    inputs = {"x": normal(1, 3, 5, 4)}
    assert difference(interpret(graph, inputs)[x], run_onnxruntime(model, inputs)[x]) < 1e-6
    with pytest.raises(CompileError, match=r"input 'x' is \?x3x\?x\?; give the size"):
        read_onnx(model)


def test_same_file_same_graph():
    def build(builder: Builder) -> str:
        x = builder.node("Conv", "x", builder.weights(6, 2, 1, 1), group=3)
        return shuffle(builder, x, (6, 9, 7), 3, "5d")

    texts = [str([str(graph) for _, graph in stages(read_onnx(built(build)))]) for _ in range(2)]
    assert texts[0] == texts[1]


def test_weights_in_another_file(tmp_path):
    model = one("Conv", normal(40, 6, 3, 3))
    inputs = random_inputs(model)
    expected = run_onnxruntime(model, inputs)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    found = interpret(read_onnx(tmp_path / "m.onnx"), inputs)
    for name, array in expected.items():
        assert difference(found[name], array) < 1e-6
    with pytest.raises(CompileError, match="are in another file; pass the path"):
        read_onnx((tmp_path / "m.onnx").read_bytes())


def test_bytes_and_paths():
    model = one("Relu")
    assert str(read_onnx(model.SerializeToString())) == str(read_onnx(model))
    with pytest.raises(CompileError, match="is not an ONNX file"):
        read_onnx(b"GIF89a, which is something else")


def test_functions_are_taken_in():
    body = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    function = helper.make_function("ours", "Square", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("Square", ["x"], ["y"], domain="ours")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 3, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    check(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8))


def test_initializers_may_be_listed_as_inputs():
    model = one("Conv", normal(4, 6, 1, 1))
    name = model.graph.initializer[0].name
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (4, 6, 1, 1)))
    assert [port.name for port in check(model).inputs] == ["x"]


def test_network_input_in_a_concatenation_is_copied_once():
    model = built(lambda b: b.node("Concat", "x", b.node("Relu", "x"), axis=1))
    *_, (_, simplified) = stages(read_onnx(model))
    copies = [operation for operation in simplified.operations if isinstance(operation, Copy)]
    assert len(copies) == 1
    assert copies[0].inputs[0].tensor == "x"


def unsupported_domain() -> onnx.ModelProto:
    model = one("Relu")
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def half_precision() -> onnx.ModelProto:
    model = one("Relu")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def unknown_name() -> onnx.ModelProto:
    model = one("Relu")
    model.graph.node[0].input[0] = "nowhere"
    return model


def circle() -> onnx.ModelProto:
    b = Builder()
    y = b.node("Relu", b.node("Add", "x", "relu1"))
    assert y == "relu1"
    return b.model({"x": (1, 6, 9, 7)}, [y])


def trained(kind: str, opset: int) -> onnx.ModelProto:
    """Exported in training mode, as opsets before 14 say it: five outputs, of which one is read."""
    b = Builder(opset=opset)
    outputs = b.nodes_of(kind, 5, "x", *(b.constant(np.ones(6)) for _ in range(4)))
    return b.model({"x": (1, 6, 9, 7)}, outputs[:1])


def constant_output() -> onnx.ModelProto:
    model = one("Relu")
    model.graph.initializer.append(numpy_helper.from_array(normal(3), "c"))
    model.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, (3,)))
    return model


REFUSALS = {
    r"Erf node 'n0' is an operator that is not compiled; the network may use Add, AveragePool": lambda: one("Erf"),
    r"com.microsoft.Relu node 'n0' is an operator": unsupported_domain,
    r"RandomNormalLike node 'n0' is an operator": lambda: one("RandomNormalLike"),
    r"input 'x' is not float32": half_precision,
    r"reads 'nowhere', which nothing gives": unknown_name,
    r"output 'c' does not depend on the network's input": constant_output,
    r"input 'x' is 1x3x4; it must be an image": lambda: one("Relu", shape=(1, 3, 4)),
    r"input 'x' is \?x\?x\?x\?; export the network with its number of channels": lambda: one(
        "Relu", shape=("a", "b", "c", "d")
    ),
    r"has weights of shape \[4, 6, 3\]; only two-dim": lambda: one("Conv", normal(4, 6, 3)),
    r"has weights \[4, 3, 3, 3\] in 1 groups for 6 channels": lambda: one("Conv", normal(4, 3, 3, 3)),
    r"window of 11x3 over 9x7 padded by .*larger input": lambda: one("Conv", normal(4, 6, 11, 3)),
    r"has pads \[-1, 0, 0, 0\]": lambda: one("Conv", normal(4, 6, 3, 3), pads=[-1, 0, 0, 0]),
    r"computes its input 1, 'x', at run time": lambda: built(lambda b: b.node("Conv", "x", "x")),
    r"reads 'transpose0' \[1, 9, 7, 6\].*NCHW layout": lambda: built(
        lambda b: b.node("Conv", b.node("Transpose", "x", perm=[0, 2, 3, 1]), b.weights(4, 9, 1, 1))
    ),
    r"output 'transpose0' \[1, 9, 7, 6\] has the numbers .* end before its last Transpose": lambda: one(
        "Transpose", perm=[0, 2, 3, 1]
    ),
    r"reshapes \[1, 6, 9, 7\] to \[4, -1\]": lambda: one("Reshape", integers(4, -1)),
    r"concatenates planes of 9x7 and 1x1": lambda: built(
        lambda b: b.node("Concat", b.node("Flatten", "x"), b.node("Flatten", b.node("GlobalAveragePool", "x")), axis=1)
    ),
    r"takes the constant 'constant0' as input 1": lambda: built(
        lambda b: b.node("Concat", "x", b.weights(1, 2, 9, 7), axis=1)
    ),
    r"gives 'maxpool0b', which is read": lambda: built(lambda b: b.nodes_of("MaxPool", 2, "x", kernel_shape=[2, 2])),
    r"gives 'dropout0b', which is read": lambda: built(lambda b: b.nodes_of("Dropout", 2, "x")),
    r"BatchNormalization node 'n0' is in training mode": lambda: trained("BatchNormalization", 13),
    r"BatchNormalization node 'n0' is in training mode; export": lambda: trained("BatchNormalization", 9),
    r"Dropout node 'n0' is in training mode": lambda: one("Dropout", np.array(0.5, np.float32), np.array(True)),
    r"depends on its own result": circle,
    r"resizes by mode 'cubic'": lambda: one("Resize", *SCALES, mode="cubic"),
    r"only height and width can be resized": lambda: one(
        "Resize", np.zeros(0, np.float32), np.array([1, 2, 1, 1], np.float32)
    ),
    r"has kernel_shape \[2\]": lambda: one("MaxPool", kernel_shape=[2]),
    r"lie wholly in the padding": lambda: one("AveragePool", kernel_shape=[2, 2], pads=[2, 0, 0, 0]),
    r"reduces \[1, 6, 9, 7\] over axis 1": lambda: one("ReduceMax", axes=[1]),
    r"pads by mode 'reflect'": lambda: one("Pad", integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
    r"pads by \[0, 1, 0, 0, 0, 0, 0, 0\]": lambda: one("Pad", integers(0, 1, 0, 0, 0, 0, 0, 0)),
    r"compares tensors": lambda: built(lambda b: b.node("Max", "x", b.node("Relu", "x"))),
    r"divides by a tensor": lambda: built(lambda b: b.node("Div", b.constant(1.0), "x")),
    r"differs from pixel to pixel": lambda: one("Add", normal(9, 7)),
    r"broadcasts \[1, 6, 9, 7\] with a constant \[2, 6, 9, 7\]": lambda: one("Add", normal(2, 6, 9, 7)),
    r"combines \[1, 6, 63, 1\] and \[1, 6, 1, 63\]; one of them must have the shape of the result": lambda: built(
        lambda b: b.node("Mul", b.reshape("x", 1, 6, 1, 63), b.reshape("x", 1, 6, 63, 1))
    ),
    r"whose pixels are in different places": lambda: built(
        lambda b: b.node("Add", b.node("Transpose", "x", perm=[0, 1, 3, 2]), "x"), shape=(1, 6, 7, 7)
    ),
    r"is in training mode": lambda: one("BatchNormalization", *[np.ones(6, np.float32)] * 4, training_mode=1),
    r"casts to another element type": lambda: one("Cast", to=TensorProto.FLOAT16),
    r"transposes its input": lambda: built(lambda b: b.node("Gemm", b.node("Flatten", "x"), b.weights(1, 3), transA=1)),
    r"is taken over axes \[3\]": lambda: one("Softmax", axis=3),
    r"multiplies \[1, 6, 9, 7\] by \[6, 3\]": lambda: one("MatMul", normal(6, 3)),
    r"multiplies \[1, 6, 7, 9\]; only one vector": lambda: built(
        lambda b: b.node("MatMul", b.node("Transpose", "x", perm=[0, 1, 3, 2]), b.weights(9, 3))
    ),
    r"multiplies planes of 9x7 and \[3, 8\]": lambda: built(lambda b: b.node("MatMul", b.weights(3, 8), "x")),
    r"the file has opset 6": lambda: one("Relu", opset=6),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_is_refused_is_named_with_what_would_do(message):
    with pytest.raises(CompileError, match=message) as caught:
        read_onnx(REFUSALS[message]())
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_size_must_agree_with_the_file():
    with pytest.raises(CompileError, match="input 'x' is 1x6x9x7, not 224x224"):
        read_onnx(one("Relu"), size=(224, 224))
    assert read_onnx(one("Relu"), size=(9, 7)).inputs[0].shape == (1, 6, 9, 7)


def test_infinite_bounds_of_a_clip():
    model = one("Clip", np.float32(-math.inf), np.float32(math.inf))
    check(model)
