"""What each pass leaves of small networks; that it keeps their meaning is held in `simplified` and test_random_networks.py."""

from collections.abc import Callable

import numpy as np
import pytest

from shufflenet.compiler.graph.ir import (
    Activate,
    Activation,
    Convolution,
    Copy,
    Elementwise,
    GlobalPool,
    Graph,
    Operation,
    Pad,
    Pool,
)
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import PASSES, simplify, stages

from ..networks import Builder, difference, random_inputs, run_onnxruntime, shuffle


def simplified(build: Callable[[Builder], str | list[str]], shape: tuple[int, ...] = (1, 6, 9, 7)) -> Graph:
    """The last stage, after all stages have been held to ONNX Runtime."""
    builder = Builder()
    outputs = build(builder)
    model = builder.model({"x": shape}, [outputs] if isinstance(outputs, str) else outputs)
    inputs = random_inputs(model)
    expected = run_onnxruntime(model, inputs)
    graph = read_onnx(model)
    names = []
    for name, graph in stages(graph):  # noqa: B020
        names.append(name)
        found = interpret(graph, inputs)
        for output, array in expected.items():
            assert difference(found[output], array) < 5e-6, f"{output} after {name}"
    assert names == ["read", *PASSES]
    return graph


def kinds(graph: Graph) -> list[type[Operation]]:
    return [type(operation) for operation in graph.operations]


def conv(builder: Builder, x: str, channels: int, out: int, kernel: int = 1, **attributes) -> str:
    return builder.node(
        "Conv", x, builder.weights(out, channels // attributes.get("group", 1), kernel, kernel), **attributes
    )


def test_normalisation_and_activation_ride_on_the_convolution():
    graph = simplified(lambda b: b.node("Relu", b.batch_normalization(conv(b, "x", 6, 4, 3), 4)))
    (operation,) = graph.operations
    assert isinstance(operation, Convolution)
    assert operation.activation == Activation("relu")
    assert operation.bias is not None
    assert {array.dtype for array in graph.constants.values()} == {np.dtype(np.float32)}


def test_chain_of_scales_is_folded_into_one():
    def build(b: Builder) -> str:
        x = b.node("Mul", conv(b, "x", 6, 4), b.constant(2.0))
        return b.node("Div", b.node("Sub", b.batch_normalization(x, 4), b.constant(0.5)), b.weights(4, 1, 1))

    assert kinds(simplified(build)) == [Convolution]


def test_scale_with_nothing_to_fold_into_stays_as_a_depthwise_convolution():
    graph = simplified(lambda b: b.node("Relu", b.batch_normalization("x", 6)))
    (operation,) = graph.operations
    assert isinstance(operation, Convolution)
    assert operation.groups == 6
    assert graph.constants[operation.weight].dtype == np.float32


def test_scale_goes_forward_where_no_padding_would_see_the_shift():
    assert kinds(simplified(lambda b: conv(b, b.batch_normalization("x", 6), 6, 4, 3, group=2))) == [Convolution]
    assert kinds(simplified(lambda b: conv(b, b.node("Mul", "x", b.constant(0.5)), 6, 4, 3, pads=[1] * 4))) == [
        Convolution
    ]
    padded = simplified(lambda b: conv(b, b.batch_normalization("x", 6), 6, 4, 3, pads=[1] * 4))
    assert kinds(padded) == [Convolution, Convolution]


def test_scale_of_a_value_that_is_used_elsewhere_is_not_folded():
    def build(b: Builder) -> list[str]:
        x = conv(b, "x", 6, 4)
        return [b.batch_normalization(x, 4), b.node("Sigmoid", x)]

    assert kinds(simplified(build)) == [Convolution, Convolution, Activate]


def test_residual_and_its_activation_ride_on_the_convolution():
    graph = simplified(lambda b: b.node("Relu", b.node("Add", b.batch_normalization(conv(b, "x", 6, 6), 6), "x")))
    (operation,) = graph.operations
    assert isinstance(operation, Convolution)
    assert operation.addend == graph.inputs[0].view
    assert operation.activation == Activation("relu")


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_branches_the_later_takes_the_addition(swapped):
    def build(b: Builder) -> str:
        first, second = conv(b, "x", 6, 4), conv(b, b.node("Relu", conv(b, "x", 6, 3)), 3, 4)
        return b.node("Add", *((second, first) if swapped else (first, second)))

    graph = simplified(build)
    assert kinds(graph) == [Convolution] * 3
    last = graph.operations[-1]
    assert isinstance(last, Convolution)
    assert last.addend == graph.operations[0].output


def test_addition_waits_for_an_addend_that_comes_later():
    def build(b: Builder) -> str:
        y = conv(b, "x", 6, 6)
        return b.node("Add", y, b.node("MaxPool", "x", kernel_shape=[3, 3], pads=[1] * 4))

    graph = simplified(build)
    assert kinds(graph) == [Pool, Convolution]


def test_addition_after_an_activation_stays_one():
    graph = simplified(lambda b: b.node("Add", b.node("Relu", conv(b, "x", 6, 6)), "x"))
    assert kinds(graph) == [Convolution, Elementwise]


def test_squeeze_and_excitation_takes_the_residual():
    def build(b: Builder) -> str:
        y = conv(b, "x", 6, 6, 3, pads=[1] * 4)
        gate = b.node("GlobalAveragePool", y)
        gate = b.node("Sigmoid", conv(b, b.node("Relu", conv(b, gate, 6, 2)), 2, 6))
        return b.node("Relu", b.node("Add", b.node("Mul", y, gate), "x"))

    graph = simplified(build)
    assert kinds(graph) == [Convolution, GlobalPool, Convolution, Convolution, Elementwise]
    product = graph.operations[-1]
    assert isinstance(product, Elementwise)
    assert (product.kind, product.addend, product.activation) == ("multiply", graph.inputs[0].view, Activation("relu"))


def test_unit_of_stride_two_writes_where_it_is_concatenated():
    """The ReLU after the concatenation reaches the branch, and vanishes before the pool of what is not negative."""

    def build(b: Builder) -> str:
        x = b.node("Relu", conv(b, "x", 6, 6))
        y = conv(b, x, 6, 9, 3, group=3, strides=[2, 2], pads=[1] * 4)
        pooled = b.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1)
        joint = b.node("Relu", b.node("Concat", pooled, b.batch_normalization(y, 9), axis=1))
        return conv(b, joint, 15, 6, group=3)

    graph = simplified(build)
    assert kinds(graph) == [Convolution, Convolution, Pool, Convolution]
    _, branch, pool, last = graph.operations
    assert isinstance(branch, Convolution)
    assert isinstance(pool, Pool)
    assert branch.activation == Activation("relu")
    assert pool.activation is None
    assert branch.output.tensor == pool.output.tensor
    assert branch.output.planes == tuple(range(6, 15))
    assert last.inputs[0].planes == tuple(range(15))


def test_normalisation_after_a_concatenation_reaches_all_convolutions():
    graph = simplified(
        lambda b: b.node(
            "Relu", b.batch_normalization(b.node("Concat", conv(b, "x", 6, 4), conv(b, "x", 6, 5), axis=1), 9)
        )
    )
    assert kinds(graph) == [Convolution, Convolution]


def test_activation_after_a_concatenation_with_a_value_used_elsewhere_stays():
    def build(b: Builder) -> list[str]:
        x, y = conv(b, "x", 6, 4), conv(b, "x", 6, 5)
        return [b.node("Relu", b.node("Concat", x, y, axis=1)), b.node("Sigmoid", x)]

    assert Activate in kinds(simplified(build))


def test_activations_that_change_nothing_go():
    def build(b: Builder) -> str:
        x = b.node("Relu", conv(b, "x", 6, 4))
        x = b.node("Relu", b.node("MaxPool", x, kernel_shape=[2, 2]))
        x = b.node("Clip", b.node("Sigmoid", b.node("Relu", x)), b.constant(0.0), b.constant(6.0))
        return b.node("Relu", b.node("GlobalAveragePool", x))

    graph = simplified(build)
    assert kinds(graph) == [Convolution, Pool, GlobalPool]
    assert [getattr(operation, "activation", None) for operation in graph.operations] == [
        Activation("relu"),
        Activation("sigmoid"),
        None,
    ]


def test_hard_swish_is_recognised():
    def build(b: Builder) -> str:
        y = conv(b, "x", 6, 4)
        return b.node("Mul", b.node("HardSigmoid", y, alpha=1 / 6, beta=0.5), y)

    (operation,) = simplified(build).operations
    assert isinstance(operation, Convolution)
    assert operation.activation == Activation("hard_swish")


def pad(b: Builder, x: str, value: float = 0.0) -> str:
    return b.node("Pad", x, b.integers(0, 0, 1, 2, 0, 0, 0, 1), b.constant(value))


def test_padding_goes_into_the_window():
    graph = simplified(lambda b: conv(b, pad(b, "x"), 6, 4, 3, pads=[1, 0, 1, 0]))
    (operation,) = graph.operations
    assert isinstance(operation, Convolution)
    assert operation.padding == (2, 2, 1, 1)
    assert kinds(simplified(lambda b: b.node("AveragePool", pad(b, "x"), kernel_shape=[3, 3], strides=[2, 2]))) == [
        Pool
    ]
    assert kinds(simplified(lambda b: b.node("MaxPool", pad(b, b.node("Sigmoid", "x")), kernel_shape=[3, 3]))) == [
        Activate,
        Pool,
    ]
    assert kinds(simplified(lambda b: b.node("MaxPool", pad(b, "x", -np.inf), kernel_shape=[3, 4]))) == [Pool]


def test_padding_that_a_window_cannot_say_stays():
    assert kinds(simplified(lambda b: conv(b, pad(b, "x", 1.0), 6, 4, 3))) == [Pad, Convolution]
    assert kinds(simplified(lambda b: b.node("MaxPool", pad(b, "x"), kernel_shape=[3, 3]))) == [Pad, Pool]
    average = simplified(lambda b: b.node("AveragePool", pad(b, "x"), kernel_shape=[3, 3], pads=[1] * 4))
    assert kinds(average) == [Pad, Pool]


def test_nested_and_overlapping_concatenations_share_one_buffer():
    """As in DenseNet: every concatenation is a part of the last."""

    def build(b: Builder) -> str:
        parts = [conv(b, "x", 6, 4)]
        for _ in range(3):
            joint = b.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
            parts.append(b.node("Relu", conv(b, joint, sum([4, 3, 3, 3][: len(parts)]), 3)))
        return conv(b, b.node("Concat", *parts, axis=1), 13, 2)

    graph = simplified(build)
    assert kinds(graph) == [Convolution] * 5
    assert len({operation.output.tensor for operation in graph.operations}) == 2
    assert all(operation.inputs[0].is_contiguous for operation in graph.operations)


def test_a_tensor_in_two_concatenations_and_twice_in_one_needs_no_copy():
    def build(b: Builder) -> list[str]:
        x, y, z = conv(b, "x", 6, 4), conv(b, "x", 6, 3), conv(b, "x", 6, 2)
        return [
            conv(b, b.node("Concat", x, y, axis=1), 7, 2),
            conv(b, b.node("Concat", z, x, axis=1), 6, 2),
            conv(b, b.node("Concat", y, z, y, axis=1), 8, 2),
        ]

    assert Copy not in kinds(simplified(build))


def test_shuffle_of_version_2_splits_and_joins_without_a_copy():
    def build(b: Builder) -> str:
        x = conv(b, "x", 6, 8)
        for _ in range(3):
            left, right = b.split(x, [4, 4])
            x = b.node("Concat", left, b.node("Relu", conv(b, right, 4, 4)), axis=1)
            x = shuffle(b, x, (8, 9, 7), 2, "5d")
        return conv(b, x, 8, 3)

    assert kinds(simplified(build)) == [Convolution] * 5


def test_channels_go_in_order_of_planes():
    """After a grouped convolution and a shuffle, a convolution of all channels does not care for their order."""
    graph = simplified(lambda b: conv(b, shuffle(b, conv(b, "x", 6, 6, group=3), (6, 9, 7), 3, "5d"), 6, 5))
    assert [operation.output.is_contiguous for operation in graph.operations] == [True, True]
    assert [operation.inputs[0].is_contiguous for operation in graph.operations] == [True, True]


def test_what_no_output_needs_is_removed():
    def build(b: Builder) -> str:
        conv(b, conv(b, "x", 6, 4), 4, 4)
        return b.node("Relu", "x")

    graph = simplified(build)
    assert kinds(graph) == [Activate]
    assert not graph.constants
    assert set(graph.tensors) == {"x", graph.operations[0].output.tensor}


def test_simplify_is_the_last_stage():
    builder = Builder()
    model = builder.model({"x": (1, 6, 9, 7)}, [builder.node("Relu", conv(builder, "x", 6, 4))])
    *_, (_, last) = stages(read_onnx(model))
    assert str(simplify(read_onnx(model))) == str(last)
