"""QuantizeLinear and DequantizeLinear: where the network's numbers become codes of one byte, and numbers again.

Of constants, what a DequantizeLinear makes is kept as numbers, and its scale beside them: the weights that a convolution may take as
codes. Codes of int8 are read as those of uint8, 128 further up.
"""

import math

import numpy as np

from shufflenet.compiler.graph.ir import Dequantize, Quantization, Quantize
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value

_UINT8, _INT8 = 2, 3  # onnx.TensorProto's


def quantize(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    to = _quantization(node, reader)
    output = reader.tensor(node.output, value.view.channels, value.size, to)
    reader.operations.append(Quantize(name=node.output, output=output, input=value.view))
    return Value(output, value.size, value.shape, value.elements)


def dequantize(node: Node, reader: Reader) -> Value | np.ndarray:
    if isinstance(reader.operand(node, 0), np.ndarray):
        return _dequantize_constant(node, reader)
    value = reader.value(node)
    found, stated = reader.tensors[value.view.tensor].quantization, _quantization(node, reader)
    if found is None:
        node.refuse(f"reads {node.inputs[0]!r}, which are not codes", "put a QuantizeLinear before it")
    if found != stated:
        node.refuse(
            f"takes codes for {stated} that QuantizeLinear made for {found}",
            "give both nodes the same scale, zero point and element type",
        )
    output = reader.tensor(node.output, value.view.channels, value.size)
    reader.operations.append(Dequantize(name=node.output, output=output, input=value.view))
    return Value(output, value.size, value.shape, value.elements)


def _quantization(node: Node, reader: Reader) -> Quantization:
    """Scale and zero point of the network's own numbers."""
    scale = reader.constant(node, 1)
    zero = reader.constant(node, 2) if reader.has(node, 2) else None
    _refuse_blocks(node)
    if scale.size != 1 or (zero is not None and zero.size != 1):
        node.refuse(
            f"has {scale.size} scales for numbers of the network", "quantize activations per tensor, with one scale"
        )
    number = float(np.float32(scale.item()))
    if not (0 < number < math.inf):
        node.refuse(f"has the scale {number:g}", "it must be positive and finite")
    types = {"uint8": 0, "int8": 128}
    kind = {_UINT8: "uint8", _INT8: "int8", 0: "uint8"}.get(node.attributes.get("output_dtype", 0), "another type")
    kind = kind if zero is None else str(zero.dtype)
    if kind not in types:
        node.refuse(f"makes codes of {kind}", "uint8 and int8 are compiled")
    return Quantization(number, (0 if zero is None else int(zero.item())) + types[kind])


def _dequantize_constant(node: Node, reader: Reader) -> np.ndarray:
    """(code − zero point) · scale. Codes of int32, biases, need float64."""
    codes, scale = reader.constant(node, 0), reader.constant(node, 1).astype(np.float64)
    zero = reader.constant(node, 2).astype(np.int64) if reader.has(node, 2) else np.zeros(scale.shape, np.int64)
    _refuse_blocks(node)
    if codes.dtype.kind not in "iu":
        node.refuse(f"reads {node.inputs[0]!r} of {codes.dtype}", "int8, uint8 and int32 are compiled")
    axis = node.attributes.get("axis", 1)
    if scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    elif scale.ndim != 1 or not -codes.ndim <= axis < codes.ndim or codes.shape[axis] != scale.size:
        node.refuse(f"has {scale.size} scales along axis {axis} of {list(codes.shape)}", "correct the file")
    else:
        shape = [1] * codes.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    reader.scales[node.output] = scale
    return np.asarray((codes - zero) * scale, np.float64 if codes.dtype == np.int32 else np.float32)


def _refuse_blocks(node: Node) -> None:
    if size := node.attributes.get("block_size", 0):
        node.refuse(f"has a scale for every {size} numbers", "quantize per tensor or per channel")
