"""ONNX files for tests: a builder, the answer of ONNX Runtime, and networks at random."""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")
Choose = Callable[[Sequence[T]], T]  # random.Random(seed).choice, or a draw of hypothesis


class Builder:
    """Nodes and constants of an ONNX graph. What opsets write differently is written as `opset` wants it."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(numbers, np.int64)

    def weights(self, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        return self.constant(self.random.standard_normal(shape) / fan_in**0.5)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_of(kind, 1, *inputs, **attributes)[0]

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        outputs = [f"{kind.lower()}{len(self.nodes)}{chr(97 + i) if count > 1 else ''}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"n{len(self.nodes)}", **attributes))
        return outputs

    def reduce_mean(self, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
        if self.opset < 18:
            return self.node("ReduceMean", x, axes=list(axes), keepdims=keepdims)
        return self.node("ReduceMean", x, self.integers(*axes), keepdims=keepdims)

    def split(self, x: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        if self.opset < 13:
            return self.nodes_of("Split", len(sizes), x, axis=axis, split=list(sizes))
        return self.nodes_of("Split", len(sizes), x, self.integers(*sizes), axis=axis)

    def unsqueeze(self, x: str, axis: int = 0) -> str:
        if self.opset < 13:
            return self.node("Unsqueeze", x, axes=[axis])
        return self.node("Unsqueeze", x, self.integers(axis))

    def slice(self, x: str, start: int, end: int, axis: int = 1, step: int = 1) -> str:
        return self.node("Slice", x, *(self.integers(n) for n in (start, end, axis, step)))

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.integers(*shape))

    def batch_normalization(self, x: str, channels: int) -> str:
        scale, shift, mean = (self.random.standard_normal(channels) * s for s in (1.0, 0.5, 0.5))
        variance = self.random.uniform(0.5, 2.0, channels)
        return self.node("BatchNormalization", x, *map(self.constant, (scale, shift, mean, variance)), epsilon=1e-3)

    def model(self, inputs: dict[str, Sequence[int | str]], outputs: Sequence[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def random_inputs(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers for every input, all of whose dimensions the file must give."""
    random = np.random.default_rng(seed)
    constants = {initializer.name for initializer in model.graph.initializer}
    return {
        info.name: random.standard_normal([d.dim_value for d in info.type.tensor_type.shape.dim]).astype(np.float32)
        for info in model.graph.input
        if info.name not in constants
    }


def run_onnxruntime(model: onnx.ModelProto | str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name, as ONNX Runtime computes them on one thread, without its own rewriting of the graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference as a part of the largest number that is expected; what is not finite must be the same."""
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    assert np.isfinite(actual[finite]).all()
    scale = np.abs(expected[finite]).max(initial=1e-6)
    return float(np.abs(actual[finite].astype(np.float64) - expected[finite]).max(initial=0.0) / scale)


def shuffle(builder: Builder, x: str, shape: tuple[int, int, int], groups: int, spelling: str) -> str:
    """A channel shuffle as exporters and people write it."""
    channels, height, width = shape
    n = channels // groups
    if spelling == "5d":  # the paper's, torchvision
        x = builder.node("Transpose", builder.reshape(x, 1, groups, n, height, width), perm=[0, 2, 1, 3, 4])
        return builder.reshape(x, 1, -1, height, width)
    if spelling == "4d":  # pixels in one dimension
        x = builder.node("Transpose", builder.reshape(x, groups, n, height, width), perm=[1, 0, 2, 3])
        return builder.reshape(x, 1, channels, height, width)
    if spelling == "3d":  # Megvii's V2
        x = builder.node("Transpose", builder.reshape(x, groups, n, height * width), perm=[1, 0, 2])
        return builder.reshape(x, -1, channels, height, width)
    if spelling == "inverse":  # Megvii's V1: reshaped to (n, groups)
        x = builder.node("Transpose", builder.reshape(x, 1, n, groups, height, width), perm=[0, 2, 1, 3, 4])
        return builder.reshape(x, 1, channels, height, width)
    if spelling == "gather":
        return builder.node(
            "Gather", x, builder.integers(*np.arange(channels).reshape(groups, n).T.reshape(-1)), axis=1
        )
    if spelling == "slices":
        return builder.node("Concat", *(builder.slice(x, i, channels, step=n) for i in range(n)), axis=1)
    if spelling == "splits":
        parts = builder.split(x, [1] * channels) if channels > 1 else [x]
        order = np.arange(channels).reshape(groups, n).T.reshape(-1)
        return builder.node("Concat", *(parts[i] for i in order), axis=1)
    if spelling == "channels_last":  # Keras
        x = builder.node("Transpose", x, perm=[0, 2, 3, 1])
        x = builder.node("Transpose", builder.reshape(x, 1, height, width, groups, n), perm=[0, 1, 2, 4, 3])
        return builder.node("Transpose", builder.reshape(x, -1, height, width, channels), perm=[0, 3, 1, 2])
    if spelling == "dynamic":  # sizes taken from the tensor when it runs, as TorchScript traces them
        sizes = [
            builder.node("Gather", builder.node("Shape", x), builder.constant(i, np.int64), axis=0) for i in range(4)
        ]
        lifted = [builder.unsqueeze(size) for size in sizes]
        g = builder.integers(groups)
        per_group = builder.node("Div", lifted[1], g)
        target = builder.node("Concat", lifted[0], g, per_group, *lifted[2:], axis=0)
        x = builder.node("Transpose", builder.node("Reshape", x, target), perm=[0, 2, 1, 3, 4])
        return builder.node("Reshape", x, builder.node("Concat", lifted[0], builder.integers(-1), *lifted[2:], axis=0))
    raise ValueError(spelling)


OPSETS = (11, 13, 17, 18, 20)
SHUFFLES = ("5d", "4d", "3d", "inverse", "gather", "slices", "splits", "channels_last", "dynamic")


def random_network(choose: Choose, seed: int = 0) -> onnx.ModelProto:
    """A small network of all that the compiler takes: every shape, attribute and connection is a choice."""
    builder = Builder(seed, opset=choose(OPSETS))
    network = _RandomNetwork(choose, builder, "input")
    outputs = network.outputs()
    return builder.model({"input": network.input_shape}, outputs)


def random_networks(seeds: Sequence[int], opset: int = 17) -> tuple[onnx.ModelProto, list[list[str]]]:
    """Many of them side by side in one file, each with an input of its own; and the outputs of each."""
    builder = Builder(seeds[0], opset)
    networks = [_RandomNetwork(random.Random(seed).choice, builder, f"input{i}") for i, seed in enumerate(seeds)]
    outputs = [network.outputs() for network in networks]
    inputs = {f"input{i}": network.input_shape for i, network in enumerate(networks)}
    return builder.model(inputs, [name for names in outputs for name in names]), outputs


class _RandomNetwork:
    """`live` holds every value so far that can be built on: name → (channels, height, width)."""

    def __init__(self, choose: Choose, builder: Builder, name: str) -> None:
        self.choose, self.builder, self.name = choose, builder, name
        self.used: set[str] = set()
        shape = self.choose([1, 2, 3, 4, 8]), self.choose(range(1, 23)), self.choose(range(1, 23))
        self.live: dict[str, tuple[int, int, int]] = {name: shape}
        self.input_shape = (1, *shape)
        steps = [
            self.convolution, self.convolution, self.depthwise, self.pointwise, self.pool, self.shuffle, self.concatenate,
            self.add, self.squeeze_and_excite, self.activate, self.cut, self.affine, self.pad, self.unit, self.normalise,
        ]  # fmt: skip
        for _ in range(self.choose(range(1, 9))):
            self.choose(steps)(self.pick())

    def outputs(self) -> list[str]:
        """All that nothing else uses, each perhaps with a classifier; and at times one that something uses."""
        ends = [name for name in self.live if name not in self.used] or [list(self.live)[-1]]
        found = [self.choose([self.keep, self.classify, self.classify_plane])(name) for name in ends[-3:]]
        if self.choose([True, False, False]):
            inner = self.pick()
            if inner not in found and inner != self.name:
                found.append(inner)
        return found

    def pick(self) -> str:
        """Mostly the latest value."""
        names = list(self.live)
        return names[max(0, len(names) - 1 - self.choose([0, 0, 0, 0, 1, 2, 5]))]

    def add_value(self, name: str, shape: tuple[int, int, int], *used: str) -> str:
        self.live[name] = shape
        self.used.update(used)
        return name

    def after(self, x: str, shape: tuple[int, int, int], *used: str) -> str:
        """Normalised and activated, or not."""
        builder = self.builder
        if self.choose([True, False]):
            x = builder.batch_normalization(x, shape[0])
        return self.add_value(self.function(x), shape, *used)

    def function(self, x: str) -> str:
        builder = self.builder
        match self.choose(
            ["", "", "Relu", "Relu", "Relu6", "Sigmoid", "LeakyRelu", "HardSigmoid", "HardSwish", "Clip"]
        ):
            case "":
                return x
            case "Relu6":
                return builder.node("Clip", x, builder.constant(0.0), builder.constant(6.0))
            case "Clip":
                return builder.node("Clip", x, "", builder.constant(0.25))
            case "HardSwish" if builder.opset < 14:
                return builder.node("Mul", x, builder.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))
            case kind:
                return builder.node(kind, x)

    def convolution(self, x: str) -> str:
        channels, *_ = self.live[x]
        groups = self.choose([g for g in (1, 1, 2, 3, 4, 8) if channels % g == 0])
        out = groups * self.choose([1, 2, 3, 5, 7, 10])
        kernel = self.choose([(1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (7, 7), (4, 3)])
        stride = self.choose([(1, 1), (1, 1), (2, 2), (3, 2), (1, 4)])
        dilation = self.choose([(1, 1), (1, 1), (2, 2), (1, 3)])
        return self.window(x, groups, out, kernel, stride, dilation)

    def depthwise(self, x: str) -> str:
        channels, *_ = self.live[x]
        kernel = self.choose([(3, 3), (3, 3), (5, 5), (1, 1), (7, 7), (2, 3)])
        stride = self.choose([(1, 1), (2, 2), (2, 2), (1, 2)])
        return self.window(
            x, channels, channels * self.choose([1, 1, 1, 2]), kernel, stride, self.choose([(1, 1), (1, 1), (2, 2)])
        )

    def pointwise(self, x: str) -> str:
        channels, *_ = self.live[x]
        groups = self.choose([g for g in (1, 2, 3, 4) if channels % g == 0])
        return self.window(x, groups, groups * self.choose([1, 4, 9, 17, 20, 40]), (1, 1), (1, 1), (1, 1))

    def window(
        self, x: str, groups: int, out: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
    ) -> str:
        builder = self.builder
        channels, height, width = self.live[x]
        extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        sizes = {}
        if self.choose([True, True, True, False]):
            same = [extents[0] // 2, extents[1] // 2]
            pads = same + same
        else:
            pads = [self.choose(range(e)) for e in extents * 2]
        for axis, n in ((0, height), (1, width)):
            pads[axis] += max(0, extents[axis] - n - pads[axis] - pads[axis + 2])
            sizes[axis] = (n + pads[axis] + pads[axis + 2] - extents[axis]) // stride[axis] + 1
        inputs = [x, builder.weights(out, channels // groups, *kernel)]
        if self.choose([True, False]):
            inputs.append(builder.weights(out))
        y = builder.node(
            "Conv", *inputs, group=groups, strides=stride, pads=pads, dilations=dilation, kernel_shape=kernel
        )
        return self.after(y, (out, sizes[0], sizes[1]), x)

    def pool(self, x: str) -> str:
        builder = self.builder
        channels, height, width = self.live[x]
        kind = self.choose(["MaxPool", "AveragePool", "GlobalAveragePool"])
        if kind == "GlobalAveragePool":
            y = self.choose([lambda: builder.node(kind, x), lambda: builder.reduce_mean(x, (2, 3))])()
            return self.add_value(y, (channels, 1, 1), x)
        kernel = [min(n, self.choose([1, 2, 3, 3, 5])) for n in (height, width)]
        stride = [self.choose([1, 2, 2, 3]), self.choose([1, 2, 2, 3])]
        half = [self.choose(range(k // 2 + 1)) for k in kernel]
        pads = half + [self.choose([h, h, min(h, k - 1)]) for h, k in zip(half, kernel, strict=True)]
        ceil = self.choose([0, 0, 1])
        attributes: dict[str, Any] = {"ceil_mode": ceil}
        if kind == "AveragePool":
            attributes["count_include_pad"] = self.choose([0, 1])
        sizes = []
        for axis, n in ((0, height), (1, width)):
            room = n + pads[axis] + pads[axis + 2] - kernel[axis]
            size = (-(-room // stride[axis]) if ceil else room // stride[axis]) + 1
            sizes.append(size - 1 if ceil and (size - 1) * stride[axis] >= n + pads[axis] else size)
        y = builder.node(kind, x, kernel_shape=kernel, strides=stride, pads=pads, **attributes)
        return self.add_value(self.function(y), (channels, sizes[0], sizes[1]), x)

    def shuffle(self, x: str) -> str:
        channels, *_ = self.live[x]
        groups = self.choose([g for g in range(1, channels + 1) if channels % g == 0])
        y = shuffle(self.builder, x, self.live[x], groups, self.choose(SHUFFLES))
        return self.add_value(y, self.live[x], x)

    def concatenate(self, x: str) -> str:
        """With any other of its size, itself among them; often activated afterwards."""
        _, *size = self.live[x]
        others = [name for name, shape in self.live.items() if list(shape[1:]) == size]
        pieces = [x] + [self.choose(others) for _ in range(self.choose([1, 1, 2, 3]))]
        pieces = pieces[::-1] if self.choose([True, False]) else pieces
        total = sum(self.live[piece][0] for piece in pieces)
        if total > 120:
            return x
        return self.after(self.builder.node("Concat", *pieces, axis=1), (total, size[0], size[1]), *pieces)

    def add(self, x: str) -> str:
        """With any other of its shape, or with a convolution of itself."""
        others = [name for name, shape in self.live.items() if shape == self.live[x] and name != x]
        if not others or self.choose([True, False]):
            channels, *_ = self.live[x]
            weight = self.builder.weights(channels, channels, 1, 1)
            others = [self.builder.node("Conv", x, weight, kernel_shape=(1, 1))]
        pair = [x, self.choose(others)]
        pair = pair[::-1] if self.choose([True, False]) else pair
        if self.choose([True, False, False]):
            pair.append(self.choose([name for name, shape in self.live.items() if shape == self.live[x]]))
        y = self.builder.node("Add" if len(pair) == 2 else "Sum", *pair)
        return self.add_value(self.function(y), self.live[x], *pair)

    def squeeze_and_excite(self, x: str) -> str:
        builder = self.builder
        channels, *_ = self.live[x]
        hidden = self.choose([1, 2, 5])
        gate = builder.node("GlobalAveragePool", x)
        if self.choose([True, False]):
            gate = builder.node(
                "Relu", builder.node("Conv", gate, builder.weights(hidden, channels, 1, 1), builder.weights(hidden))
            )
            gate = builder.node("Conv", gate, builder.weights(channels, hidden, 1, 1), builder.weights(channels))
        else:
            gate = builder.reshape(gate, 1, channels)
            gate = builder.node(
                "Relu", builder.node("Gemm", gate, builder.weights(channels, hidden), builder.weights(hidden))
            )
            gate = builder.node("MatMul", gate, builder.weights(hidden, channels))
            gate = builder.reshape(gate, 1, channels, 1, 1)
        gate = builder.node(self.choose(["Sigmoid", "HardSigmoid"]), gate)
        y = builder.node("Mul", *self.choose([(x, gate), (gate, x)]))
        if self.choose([True, False]):
            y = builder.node("Add", y, x)
        return self.add_value(self.function(y), self.live[x], x)

    def activate(self, x: str) -> str:
        return self.add_value(self.builder.node(self.choose(["Relu", "Sigmoid", "LeakyRelu"]), x), self.live[x], x)

    def cut(self, x: str) -> str:
        """Some of the channels, by Split, Slice or Gather."""
        channels, height, width = self.live[x]
        builder = self.builder
        start = self.choose(range(channels))
        end = self.choose(range(start + 1, channels + 1))
        match self.choose(["Split", "Slice", "Gather"]):
            case "Split" if 0 < start < channels:
                first, second = builder.split(x, [start, channels - start])
                self.add_value(first, (start, height, width), x)
                return self.add_value(second, (channels - start, height, width), x)
            case "Gather":
                y = builder.node("Gather", x, builder.integers(*range(end - 1, start - 1, -1)), axis=1)
            case _:
                y = builder.slice(x, start, end)
        return self.add_value(y, (end - start, height, width), x)

    def affine(self, x: str) -> str:
        """With constants: a number, or one a channel."""
        channels, *_ = self.live[x]
        builder = self.builder
        shape = self.choose([(), (1, channels, 1, 1), (channels, 1, 1)])
        constant = builder.constant(builder.random.uniform(0.5, 1.5, shape))
        kind = self.choose(["Mul", "Add", "Sub", "Div", "BatchNormalization", "1-x"])
        if kind == "BatchNormalization":
            y = builder.batch_normalization(x, channels)
        elif kind == "1-x":
            y = builder.node("Sub", constant, x)
        else:
            y = builder.node(kind, x, constant)
        return self.add_value(self.function(y), self.live[x], x)

    def pad(self, x: str) -> str:
        channels, height, width = self.live[x]
        builder = self.builder
        top, left, bottom, right = (self.choose([0, 0, 1, 2]) for _ in range(4))
        value = self.choose([0.0, 0.0, -1.5])
        y = builder.node("Pad", x, builder.integers(0, 0, top, left, 0, 0, bottom, right), builder.constant(value))
        return self.add_value(y, (channels, height + top + bottom, width + left + right), x)

    def unit(self, x: str) -> str:
        """ShuffleNet's, with stride 1 and an addition, or with stride 2 and a concatenation."""
        builder = self.builder
        channels, height, width = self.live[x]
        groups = self.choose([g for g in (1, 2, 3, 4) if channels % g == 0])
        hidden = groups * self.choose([2, 4, 5])
        stride = self.choose([1, 2])
        y = builder.node("Conv", x, builder.weights(hidden, channels // groups, 1, 1), group=groups)
        y = builder.node("Relu", builder.batch_normalization(y, hidden))
        y = shuffle(builder, y, (hidden, height, width), groups, self.choose(SHUFFLES))
        y = builder.node(
            "Conv",
            y,
            builder.weights(hidden, 1, 3, 3),
            group=hidden,
            pads=[1] * 4,
            strides=[stride] * 2,
            kernel_shape=(3, 3),
        )
        y = builder.batch_normalization(y, hidden)
        y = builder.node("Conv", y, builder.weights(channels, hidden // groups, 1, 1), group=groups)
        y = builder.batch_normalization(y, channels)
        size = (height - 1) // stride + 1, (width - 1) // stride + 1
        if stride == 1:
            y = builder.node("Relu", builder.node("Add", *self.choose([(x, y), (y, x)])))
            return self.add_value(y, (channels, *size), x)
        pooled = builder.node(
            "AveragePool", x, kernel_shape=(3, 3), strides=(2, 2), pads=[1] * 4, count_include_pad=self.choose([0, 1])
        )
        y = builder.node("Relu", builder.node("Concat", *self.choose([(pooled, y), (y, pooled)]), axis=1))
        return self.add_value(y, (2 * channels, *size), x)

    def normalise(self, x: str) -> str:
        size = self.choose([1, 3, 5])
        return self.add_value(self.builder.node("LRN", x, size=size, alpha=0.1, beta=0.75, bias=1.5), self.live[x], x)

    def keep(self, x: str) -> str:
        return x if x != self.name else self.builder.node("Identity", x)

    def classify(self, x: str) -> str:
        """Mean, one full connection, perhaps a softmax."""
        builder = self.builder
        channels, *_ = self.live[x]
        y = builder.node("Flatten", builder.node("GlobalAveragePool", x))
        y = builder.node("Gemm", y, builder.weights(5, channels), builder.weights(5), transB=1)
        return builder.node("Softmax", y, axis=1) if self.choose([True, False]) else y

    def classify_plane(self, x: str) -> str:
        """A full connection over channels and pixels."""
        builder = self.builder
        count = int(np.prod(self.live[x]))
        y = builder.node("MatMul", builder.reshape(x, 1, count), builder.weights(count, 3))
        return builder.node("Relu", builder.node("Add", y, builder.weights(3)))
