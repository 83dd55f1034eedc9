"""ONNX → Graph. Nodes are read in order; each becomes operations, or only another arrangement of values, or a constant."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Graph, Pair, Port
from shufflenet.compiler.read.addresses import (
    cast,
    concat,
    cut,
    expand,
    flatten,
    gather,
    identity,
    reshape,
    split,
    squeeze,
    transpose,
    unsqueeze,
)
from shufflenet.compiler.read.arithmetic import (
    activation,
    arithmetic,
    batch_normalization,
    bound,
    fully_connected,
    local_response_normalization,
    negation,
    softmax,
)
from shufflenet.compiler.read.batch import with_batches
from shufflenet.compiler.read.external import load_external_weights
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.order import needed_nodes
from shufflenet.compiler.read.quantization import dequantize, quantize
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.reductions import reduction
from shufflenet.compiler.read.resize import resize, transposed_convolution
from shufflenet.compiler.read.several import several_pictures
from shufflenet.compiler.read.values import Value
from shufflenet.compiler.read.windows import convolution, pad, pool

_HANDLERS: dict[str, Callable[[Node, Reader], np.ndarray | Value | tuple[Value, ...]]] = {
    "Add": arithmetic,
    "AveragePool": pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": activation,
    "Concat": concat,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "DequantizeLinear": dequantize,
    "Div": arithmetic,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": fully_connected,
    "GlobalAveragePool": reduction,
    "GlobalMaxPool": reduction,
    "HardSigmoid": activation,
    "HardSwish": activation,
    "Identity": identity,
    "LRN": local_response_normalization,
    "LeakyRelu": activation,
    "MatMul": fully_connected,
    "Max": bound,
    "MaxPool": pool,
    "Min": bound,
    "Mul": arithmetic,
    "Neg": negation,
    "PRelu": activation,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "ReduceMax": reduction,
    "ReduceMean": reduction,
    "Relu": activation,
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": activation,
    "Slice": cut,
    "Softmax": softmax,
    "Split": split,
    "Squeeze": squeeze,
    "Sub": arithmetic,
    "Sum": arithmetic,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}

# What may stand between a QuantizeLinear and a DequantizeLinear.
_TAKE_CODES = {
    "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip

_OLDEST_OPSET = 7


def read_onnx(model: onnx.ModelProto | bytes | str | Path, size: int | Pair | None = None) -> Graph:
    """The network of an ONNX file, its bytes or its parsed form, for inputs of `size` (height, width; a number is a square).

    `size` replaces height and width of image inputs where the file leaves them open, and must agree with them where it does not.
    The graph is for one picture, be the file's batch open or fixed at any
    number; its outputs know how several lie in them. Raises CompileError for what cannot be compiled, with the node's name.
    """
    proto = load_model(model)
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    opset = max(versions, default=1)
    if opset < _OLDEST_OPSET:
        raise CompileError(f"the file has opset {opset}; export it with opset {_OLDEST_OPSET} or newer.")
    reader = Reader(opset)
    for initializer in proto.graph.initializer:
        reader.values[initializer.name] = _constant(initializer)
    size = (size, size) if isinstance(size, int) else size
    inputs = tuple(_read_input(info, reader, size) for info in proto.graph.input if info.name not in reader.values)
    nodes = needed_nodes(proto.graph, reader.values)
    reader.several = several_pictures(proto, [node.proto for node in nodes], inputs)
    for node in nodes:
        _read_node(node, reader)
    outputs = tuple(_read_output(info.name, reader) for info in proto.graph.output)
    return reader.graph(inputs, with_batches(reader, nodes, inputs, outputs))


def load_model(model: onnx.ModelProto | bytes | str | Path) -> onnx.ModelProto:
    """An ONNX file with all its weights, wherever they lie, and with its own functions written out."""
    if isinstance(model, bytes):
        model = _parse(model, "the input")
    elif not isinstance(model, onnx.ModelProto):
        path = Path(model)
        model = _parse(path.read_bytes(), str(path))
        load_external_weights(model, path)
    if model.functions:
        from onnx import inliner

        return inliner.inline_local_functions(model)
    return model


def _parse(data: bytes, source: str) -> onnx.ModelProto:
    if not data:
        raise CompileError(f"{source} is empty; copy or export it again.")
    try:
        return onnx.load_from_string(data)
    except Exception as error:  # protobuf's DecodeError, whose package is onnx's affair; nothing else is called
        raise CompileError(f"{source} is not an ONNX file.") from error


def _constant(initializer: onnx.TensorProto) -> np.ndarray:
    if initializer.data_location == onnx.TensorProto.EXTERNAL:
        raise CompileError(
            f"the weights {initializer.name!r} are in another file; pass the path of the ONNX file rather than its contents."
        )
    return numpy_helper.to_array(initializer)


def _read_input(info: onnx.ValueInfoProto, reader: Reader, size: Pair | None) -> Port:
    """An image (1, channels, height, width) or a vector (1, n)."""
    kind = info.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise CompileError(f"input {info.name!r} is not float32; export a float32 network.")
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
    text = "x".join(str(dim) if dim > 0 else "?" for dim in dims)
    if len(dims) not in (2, 4):
        raise CompileError(
            f"input {info.name!r} is {text or 'of any rank'}; it must be an image (1, channels, height, width)."
        )
    if dims[1] <= 0:
        raise CompileError(f"input {info.name!r} is {text}; export the network with its number of channels.")
    height, width = dims[2:] or (1, 1)
    if len(dims) == 4 and size is not None:
        if (height > 0 and height != size[0]) or (width > 0 and width != size[1]):
            raise CompileError(
                f"input {info.name!r} is {text}, not {size[0]}x{size[1]}; export the network with open height and width, "
                "or for that size."
            )
        height, width = size
    if height <= 0 or width <= 0:
        raise CompileError(f"input {info.name!r} is {text}; give the size to compile for.")
    view = reader.tensor(info.name, dims[1], (height, width))
    shape = (1, dims[1], height, width)[: len(dims)]
    reader.values[info.name] = Value(view, (height, width), shape)
    return Port(info.name, view, shape)


def _read_node(node: Node, reader: Reader) -> None:
    operands = [reader.values[name] for name in node.inputs if name]
    if node.kind in ("Shape", "Size"):
        shape = operands[0].shape
        if isinstance(operands[0], Value):
            shape = reader.several.shape_of(node.inputs[0], shape)
        shape = np.array(shape, np.int64)
        part = shape[node.attributes.get("start", 0) : node.attributes.get("end")]
        reader.values[node.output] = part if node.kind == "Shape" else np.array(shape.prod())
        return
    constants = [operand for operand in operands if isinstance(operand, np.ndarray)]
    if node.kind not in _TAKE_CODES:
        for name, operand in zip(filter(None, node.inputs), operands, strict=True):
            if isinstance(operand, Value) and reader.tensors[operand.view.tensor].quantization:
                node.refuse(f"reads {name!r}, codes of 8 bits, as they are", "put a DequantizeLinear before it")
    if len(constants) == len(operands) and _is_pure(node) and node.kind != "DequantizeLinear":
        reader.values |= _evaluate(node, reader)
        return
    if node.kind not in _HANDLERS:
        node.refuse("is an operator that is not compiled", f"the network may use {', '.join(sorted(_HANDLERS))}")
    results = _HANDLERS[node.kind](node, reader)
    given = results if isinstance(results, tuple) else (results,)
    if extra := next(filter(None, node.outputs[len(given) :]), None):
        node.refuse(f"gives {extra!r}, which is read", "only its first output is compiled")
    reader.values |= zip(node.outputs, given, strict=False)


def _is_pure(node: Node) -> bool:
    """Whether the node is a function of its inputs: draws nothing at random, runs no other graph."""
    runs_graph = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.proto.attribute)
    random = node.kind.startswith("Random") or node.kind in ("Bernoulli", "Multinomial")
    return not (runs_graph or random or "." in node.kind)


def _evaluate(node: Node, reader: Reader) -> dict[str, np.ndarray]:
    """The outputs of a node all of whose inputs are constant, by ONNX's own reference."""
    feeds = {name: reader.values[name] for name in node.inputs if name}
    try:
        inputs = [onnx.ValueInfoProto(name=name) for name in feeds]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.outputs if name]
        graph = helper.make_graph([node.proto], "constant", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", reader.opset)])
        results = map(np.asarray, ReferenceEvaluator(model).run(None, feeds))
        return {info.name: result for info, result in zip(outputs, results, strict=True)}
    except Exception as error:
        node.refuse(f"could not be computed ahead of time ({error})", "replace it by a constant")


def _read_output(name: str, reader: Reader) -> Port:
    value = reader.values.get(name)
    if not isinstance(value, Value):
        raise CompileError(f"output {name!r} does not depend on the network's input; take it out of the file.")
    if reader.tensors[value.view.tensor].quantization:
        raise CompileError(f"output {name!r} is codes of 8 bits; let the network end with a DequantizeLinear.")
    if value.elements is not None:
        raise CompileError(
            f"output {name!r} {list(value.shape)} has the numbers of its {value.view.channels} planes of "
            f"{value.size[0]}x{value.size[1]} in another order; let the network end before its last Transpose."
        )
    return reader.output(name, value)
