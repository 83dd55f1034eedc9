"""Codes of one byte, and the numbers by which an operation makes new ones of them: what reference.py and lowering both go by.

A sum of codes times int8 weights is exact in int32. It becomes a code by one product in float32, rounded to the nearest whole number,
ties to even, as ONNX Runtime does it: every machine gives the same bytes, whatever the order of the sum. Two codes are added in
integers alone, for a float32 sum of two products depends on whether a machine fuses them.
"""

import math
from dataclasses import dataclass

import numpy as np

from shufflenet.compiler.graph.ir import (
    Activation,
    Convolution,
    Elementwise,
    GlobalPool,
    Graph,
    Pool,
    Quantization,
    View,
)

LARGEST_CODE = 255
LARGEST_FACTOR = 32767  # int16
LEAST_FACTOR = (
    # Rounded to a whole number, it is wrong by half a code of the addend at most, where that is 255 codes from 0.
    255
)
_LARGEST_SHIFT = 22  # a code shifted by so much, and all products with factors, fit int32


@dataclass(frozen=True, eq=False)
class Requantization:
    """A sum becomes a code: round(sum · scale) + zero_point, within [low, high]. `scale` is float32: of each channel, or one."""

    scale: np.ndarray
    zero_point: int
    low: int
    high: int

    def __call__(self, total: np.ndarray) -> np.ndarray:
        """The codes of whole numbers (channels, height, width)."""
        with np.errstate(over="ignore"):
            scaled = np.rint(total.astype(np.float32) * self.scale)
        code = np.clip(scaled, -1e6, 1e6).astype(np.int64) + self.zero_point
        return np.clip(code, self.low, self.high).astype(np.uint8)


@dataclass(frozen=True)
class Addition:
    """Two codes become one: (left code · left + right code · right + offset) >> shift, within [low, high]. `left`, `right`: int16."""

    left: int
    right: int
    offset: int
    shift: int
    low: int
    high: int

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The codes' sums."""
        total = left.astype(np.int64) * self.left + right.astype(np.int64) * self.right + self.offset
        return np.clip(total >> self.shift, self.low, self.high).astype(np.uint8)


def quantize(numbers: np.ndarray, to: Quantization) -> np.ndarray:
    """The nearest code of each float32 number, ties to even; 0 for a NaN.

    A product with the scale's inverse, not a quotient: where that is a tie, give or take a rounding, it may be the other code.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.asarray(numbers, np.float32) * inverse(to))
    scaled = np.where(np.isnan(scaled), -np.inf, scaled)
    return np.clip(np.clip(scaled, -1e6, 1e6) + to.zero_point, 0, LARGEST_CODE).astype(np.uint8)


def inverse(quantization: Quantization) -> np.float32:
    """What numbers are multiplied by to be in units of codes."""
    with np.errstate(over="ignore"):
        return np.float32(1) / np.float32(quantization.scale)


def dequantize(codes: np.ndarray, quantization: Quantization) -> np.ndarray:
    """The float32 numbers that codes stand for."""
    return (codes.astype(np.int32) - quantization.zero_point).astype(np.float32) * np.float32(quantization.scale)


def has_limits(activation: Activation | None) -> bool:
    """Whether the activation does no more to codes than to keep them within limits."""
    return activation is None or activation.kind in ("relu", "clip")


def limits(activation: Activation | None, quantization: Quantization) -> tuple[int, int]:
    """The least and the largest code that the activation leaves."""
    if activation is None:
        return 0, LARGEST_CODE
    assert has_limits(activation)
    bounds = (0.0, math.inf) if activation.kind == "relu" else (activation.alpha, activation.beta)
    low, high = (int(code) for code in quantize(np.array(bounds, np.float32), quantization))
    return min(low, high), high


def quantization(graph: Graph, view: View) -> Quantization:
    """Of a tensor that is known to hold codes."""
    found = graph.tensors[view.tensor].quantization
    assert found is not None, view
    return found


def holds_codes(graph: Graph, view: View) -> bool:
    return graph.tensors[view.tensor].quantization is not None


def sum_scale(graph: Graph, operation: Convolution) -> np.ndarray:
    """What a convolution's sums are in units of, float32 (channels, 1, 1)."""
    assert operation.weight_scale is not None
    weight_scale = graph.constants[operation.weight_scale].astype(np.float32).reshape(-1, 1, 1)
    return np.float32(quantization(graph, operation.input).scale) * weight_scale


def requantization(graph: Graph, operation: Convolution | Elementwise | GlobalPool | Pool) -> Requantization:
    """How an operation's sums become codes.

    The sums are of weights times codes, of products of two codes, or of the codes of a window, each code less its zero point.
    """
    to = quantization(graph, operation.output)
    with np.errstate(over="ignore"):
        match operation:
            case Convolution():
                scale = sum_scale(graph, operation) / np.float32(to.scale)
                if operation.addend is not None:
                    scale = np.ldexp(scale, -addend_factors(graph, operation).shifts)
            case Elementwise():
                left, right = quantization(graph, operation.left), quantization(graph, operation.right)
                scale = np.float32(left.scale) * np.float32(right.scale) / np.float32(to.scale)
            case GlobalPool() | Pool():
                counts = window_counts(graph, operation)
                scale = (quantization(graph, operation.input).scale / (to.scale * counts)).astype(np.float32)
    return Requantization(np.asarray(scale, np.float32), to.zero_point, *limits(operation.activation, to))


@dataclass(frozen=True, eq=False)
class AddendFactors:
    """How an addend's codes, less their zero point, join a convolution's sum: sum · 2^shift + code · factor. Both (channels, 1, 1)."""

    factors: np.ndarray
    shifts: np.ndarray

    @property
    def fit(self) -> bool:
        """Whether all factors are int16 and none is so small that rounding it tells."""
        return bool(self.factors.min() >= LEAST_FACTOR and self.factors.max() <= LARGEST_FACTOR)


def addend_factors(graph: Graph, operation: Convolution) -> AddendFactors:
    """Each channel's factor is in units of its sum, which is shifted only as far as the factor needs it, and within int32."""
    assert operation.addend is not None
    weight = graph.constants[operation.weight].astype(np.int64)
    largest = 255 * np.abs(weight).sum(axis=(1, 2, 3))
    if operation.bias is not None:
        largest += np.abs(graph.constants[operation.bias].astype(np.int64))
    most = np.floor(np.log2((2**31 - 1 - 2 * 255 * LARGEST_FACTOR) / np.maximum(largest, 1))).reshape(-1, 1, 1)
    unit = sum_scale(graph, operation).astype(np.float64)
    with np.errstate(all="ignore"):
        ratio = quantization(graph, operation.addend).scale / unit
        needed = np.nan_to_num(np.ceil(np.log2((LEAST_FACTOR + 0.5) / ratio)), posinf=0, neginf=0)
    shifts = np.clip(needed, 0, np.clip(most, 0, 22)).astype(np.int64)
    factors = np.nan_to_num(np.rint(ratio * 2.0**shifts), posinf=2**31)
    return AddendFactors(np.minimum(factors, 2**31).astype(np.int64), shifts)


def addition(graph: Graph, operation: Elementwise) -> Addition:
    """How two codes are added."""
    to = quantization(graph, operation.output)
    left, right = quantization(graph, operation.left), quantization(graph, operation.right)
    ratios = left.scale / to.scale, right.scale / to.scale
    shift = 0
    while shift < _LARGEST_SHIFT and round(max(ratios) * 2 ** (shift + 1)) <= LARGEST_FACTOR:
        shift += 1
    factors = [min(round(ratio * 2**shift), LARGEST_FACTOR) for ratio in ratios]
    offset = (to.zero_point << shift) - left.zero_point * factors[0] - right.zero_point * factors[1]
    half = (1 << shift) >> 1
    return Addition(factors[0], factors[1], offset + half, shift, *limits(operation.activation, to))


def window_counts(graph: Graph, operation: GlobalPool | Pool) -> np.ndarray:
    """How many numbers a mean counts: (output height, output width), or one for all."""
    _, height, width = graph.shape(operation.input)
    if isinstance(operation, GlobalPool):
        return np.array(height * width)
    _, *size = graph.shape(operation.output)
    along = []
    for axis, (length, out) in enumerate(((height, size[0]), (width, size[1]))):
        before, after = operation.padding[axis], operation.padding[axis + 2]
        low, high = (-before, length + after) if operation.counts_padding else (0, length)
        starts = np.arange(out)[:, None] * operation.stride[axis] - before
        places = starts + np.arange(operation.kernel[axis]) * operation.dilation[axis]
        along.append(((places >= low) & (places < high)).sum(axis=1))
    return along[0][:, None] * along[1]
