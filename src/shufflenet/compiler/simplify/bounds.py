"""What numbers a tensor can hold: enough to see that a ReLU changes nothing. A NaN is outside of all bounds, and stays one."""

import math

import numpy as np

from shufflenet.compiler.graph.integers import dequantize, quantization
from shufflenet.compiler.graph.ir import (
    Activate,
    Activation,
    Convolution,
    Copy,
    Dequantize,
    Elementwise,
    GlobalPool,
    Graph,
    Operation,
    Pad,
    Pool,
    Softmax,
)

Bounds = tuple[float, float]

_ANYTHING = (-math.inf, math.inf)


def bounds(graph: Graph) -> dict[str, Bounds]:
    """Least and largest number of every tensor."""
    found: dict[str, Bounds] = {port.view.tensor: _ANYTHING for port in graph.inputs}
    for operation in graph.operations:
        read = [found[view.tensor] for view in operation.inputs]
        if isinstance(operation, Dequantize):
            low, high = (float(x) for x in dequantize(np.array([0, 255]), quantization(graph, operation.input)))
            found[operation.output.tensor] = low, high
            continue
        found[operation.output.tensor] = _activated(_before_activation(operation, read), _activation(operation))
    return found


def leaves_unchanged(activation: Activation, within: Bounds) -> bool:
    """Whether the activation is the identity on these bounds."""
    low, high = within
    match activation.kind:
        case "relu" | "leaky_relu":
            return low >= 0
        case "clip":
            return low >= activation.alpha and high <= activation.beta
        case _:
            return False


def _before_activation(operation: Operation, read: list[Bounds]) -> Bounds:
    match operation:
        case Pool() | GlobalPool() | Copy() | Activate():
            # A window's mean may count zeros of the padding.
            zero = [(0.0, 0.0)] if isinstance(operation, Pool) and operation.counts_padding else []
            return min(b[0] for b in read + zero), max(b[1] for b in read + zero)
        case Pad():
            return min(read[0][0], operation.value), max(read[0][1], operation.value)
        case Softmax():
            return 0.0, 1.0
        case Elementwise() if all(low >= 0 for low, _ in read):
            return 0.0, math.inf
        case _:
            return _ANYTHING


def _activation(operation: Operation) -> Activation | None:
    match operation:
        case Convolution() | Pool() | GlobalPool() | Elementwise() | Activate():
            return operation.activation
        case _:
            return None


def _activated(before: Bounds, activation: Activation | None) -> Bounds:
    if activation is None:
        return before
    low, high = before
    match activation.kind:
        case "relu":
            return max(low, 0.0), max(high, 0.0)
        case "clip":
            clip = (activation.alpha, activation.beta)
            return min(max(low, clip[0]), clip[1]), min(max(high, clip[0]), clip[1])
        case "sigmoid" | "hard_sigmoid":
            return 0.0, 1.0
        case "leaky_relu" | "hard_swish":
            return (0.0 if low >= 0 else -math.inf), high
