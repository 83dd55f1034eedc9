"""QDQ networks at random: operations between quantizers of any scale and zero point, so that codes saturate and odd tails are left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from .networks import Builder, Choose

SIDES = (1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 65)
CHANNELS = (1, 2, 3, 4, 6, 8, 12, 20)
# A quantizer's range beside that of its numbers.
STRETCHES = (2.0**-9, 0.25, 1.0, 1.0, 1.0, 2.0, 2.0**7)
WEIGHT_SCALES = (1e-7, 1e-3, 0.01, 1.0)


class QDQNetwork:
    """Values are what DequantizeLinear gives: by name, their shape and how far they reach."""

    def __init__(self, choose: Choose, seed: int) -> None:
        self.choose, self.builder = choose, Builder(seed)
        self.values: dict[str, tuple[tuple[int, int, int], float]] = {}

    def model(self) -> onnx.ModelProto:
        shape = self.choose(CHANNELS), self.choose(SIDES), self.choose(SIDES)
        self.quantize("x", shape, 3.0)
        for _ in range(self.choose(range(2, 7))):
            self.choose(
                (self.convolution, self.convolution, self.depthwise, self.pool, self.join, self.gate, self.activate)
            )()
        last = list(self.values)[-1]
        if self.choose((True, False)):
            channels = self.values[last][0][0]
            last = self.builder.node("Conv", last, *self.constants((5, channels, 1, 1), last))
        return self.builder.model({"x": (1, *shape)}, [last])

    def quantize(self, x: str, shape: tuple[int, int, int], reach: float, *, limited: bool = True) -> str:
        """As codes of either kind; what may be `limited` stands behind a ReLU or a Clip at times."""
        b, signed = self.builder, self.choose((False, False, True))
        match self.choose(("nothing", "nothing", "relu", "clip")) if limited else "nothing":
            case "relu":
                x = b.node("Relu", x)
            case "clip":
                x = b.node("Clip", x, b.constant(np.float32(-0.3 * reach)), b.constant(np.float32(0.6 * reach)))
        reach = float(np.clip(reach * self.choose(STRETCHES), 1e-30, 1e30))
        zero = self.choose((0, 255, 128, 128, 3, 200)) - 128 * signed
        scale = b.constant(np.float32(reach / 100)), b.constant(zero, np.int8 if signed else np.uint8)
        value = b.node("DequantizeLinear", b.node("QuantizeLinear", x, *scale), *scale)
        self.values[value] = shape, reach
        return value

    def pick(self) -> tuple[str, tuple[int, int, int], float]:
        name = self.choose(list(self.values)[-3:])
        return name, *self.values[name]

    def constants(self, shape: Sequence[int], x: str) -> tuple[str, str]:
        """int8 weights and an int32 bias, each behind a DequantizeLinear."""
        b, out = self.builder, shape[0]
        codes = b.random.integers(-128, 128, shape)
        if self.choose((False, True)):
            codes = np.where(codes < 0, -127, 127)
        scale = (self.choose(WEIGHT_SCALES) * b.random.uniform(0.5, 1, out)).astype(np.float32)
        weight = b.node("DequantizeLinear", b.constant(codes, np.int8), b.constant(scale), axis=0)
        bias = b.constant(b.random.integers(-(2**16), 2**16, out), np.int32)
        self.weight_reach = float(scale.max()) * 64 * float(np.prod(shape[1:])) ** 0.5
        return weight, b.node("DequantizeLinear", bias, b.constant(np.float32(self.values[x][1] / 100) * scale), axis=0)

    def convolution(self) -> None:
        x, (channels, height, width), reach = self.pick()
        groups = self.choose([g for g in (1, 2, 3) if channels % g == 0])
        out, kernel = groups * self.choose((1, 2, 3, 5, 9)), self.choose((1, 1, 1, 3))
        self.window(x, (out, channels // groups, kernel, kernel), groups, (height, width), reach)

    def depthwise(self) -> None:
        x, (channels, height, width), reach = self.pick()
        kernel = self.choose((3, 3, 5))
        self.window(x, (channels, 1, kernel, kernel), channels, (height, width), reach)

    def window(self, x: str, weight: tuple[int, ...], groups: int, size: tuple[int, int], reach: float) -> None:
        kernel, stride = weight[2], self.choose((1, 1, 2))
        pads = [kernel // 2] * 4
        height, width = ((n + 2 * pads[0] - kernel) // stride + 1 for n in size)
        y = self.builder.node(
            "Conv",
            x,
            *self.constants(weight, x),
            group=groups,
            pads=pads,
            strides=[stride] * 2,
            kernel_shape=[kernel] * 2,
        )
        self.quantize(y, (weight[0], height, width), reach * self.weight_reach)

    def pool(self) -> None:
        x, (channels, height, width), reach = self.pick()
        kind, stride = self.choose(("MaxPool", "AveragePool", "GlobalAveragePool")), self.choose((1, 2))
        if kind == "GlobalAveragePool":
            self.quantize(self.builder.node(kind, x), (channels, 1, 1), reach)
            return
        attributes: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1] * 4}
        if kind == "AveragePool":
            attributes["count_include_pad"] = self.choose((0, 1))
        size = channels, (height - 1) // stride + 1, (width - 1) // stride + 1
        self.quantize(self.builder.node(kind, x, **attributes), size, reach)

    def join(self) -> None:
        """A sum or a concatenation with another value of that size, or with itself."""
        x, shape, reach = self.pick()
        other = self.choose([name for name, (size, _) in self.values.items() if size == shape])
        reach = max(reach, self.values[other][1])
        if self.choose((True, True, False)):
            self.quantize(self.builder.node("Add", x, other), shape, reach)
        else:
            self.quantize(self.builder.node("Concat", x, other, axis=1), (2 * shape[0], *shape[1:]), reach)

    def gate(self) -> None:
        x, shape, reach = self.pick()
        pooled = self.quantize(self.builder.node("GlobalAveragePool", x), (shape[0], 1, 1), reach)
        gate = self.quantize(self.builder.node("Sigmoid", pooled), (shape[0], 1, 1), 1.0, limited=False)
        self.quantize(self.builder.node("Mul", x, gate), shape, reach)

    def activate(self) -> None:
        x, shape, reach = self.pick()
        kind = self.choose(("LeakyRelu", "Sigmoid", "HardSigmoid"))
        self.quantize(self.builder.node(kind, x), shape, reach if kind == "LeakyRelu" else 1.0, limited=False)


def qdq_network(choose: Choose, seed: int) -> onnx.ModelProto:
    return QDQNetwork(choose, seed).model()
