"""How the results of several pictures lie in an output: a graph is read for one picture, its file may leave the batch open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator

from shufflenet.compiler.graph.ir import Batch, Port

PROBE = 3  # pictures; an axis that holds them is so many times as long as with one
SMALL = 1024  # elements: constants up to here may be shapes, larger ones are weights


def with_batches(proto: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port]) -> tuple[Port, ...]:
    """The output ports of a network, each with what its file says of several pictures.

    A file for one picture says nothing: there the results are put beside each other, along the first axis if it is the batch's.
    Where the batch is open, the shapes for more than one picture tell; a network that mixes its pictures is for one at a time.
    """
    if not _is_open(proto, inputs):
        return tuple(replace(port, batch=0 if port.shape[:1] == (1,) else "stacked") for port in outputs)
    shapes = _inferred(proto, inputs)
    if any(port.name not in shapes for port in outputs):
        shapes = _computed(proto, inputs)
    return tuple(replace(port, batch=_batch(port.shape, shapes.get(port.name))) for port in outputs)


def _is_open(proto: onnx.ModelProto, inputs: Sequence[Port]) -> bool:
    """Whether an input leaves its first dimension open."""
    found = {info.name: info.type.tensor_type.shape.dim for info in proto.graph.input}
    return any(not found[port.name][0].dim_value for port in inputs)


def _batch(one: tuple[int, ...], several: tuple[int, ...] | None) -> Batch:
    """From an output's shapes for one picture and for PROBE of them."""
    if several == (PROBE, *one):  # a Squeeze of every axis of 1 takes a batch of one with it
        return "stacked"
    if several is None or len(one) != len(several):
        return "mixed"
    grown = [axis for axis, (a, b) in enumerate(zip(one, several, strict=True)) if a != b]
    return grown[0] if len(grown) == 1 and several[grown[0]] == PROBE * one[grown[0]] else "mixed"


def _probed(proto: onnx.ModelProto, inputs: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    """The inputs' shapes for PROBE pictures; what is fixed stays."""
    found = {info.name: info.type.tensor_type.shape.dim for info in proto.graph.input}
    return {p.name: (found[p.name][0].dim_value or PROBE, *p.shape[1:]) for p in inputs}


def _inferred(proto: onnx.ModelProto, inputs: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    """By ONNX's shape inference, of the graph without its weights: the outputs whose shapes it finds out."""
    small = [c for c in proto.graph.initializer if _elements(c) <= SMALL and c.data_location != TensorProto.EXTERNAL]
    kept = {constant.name for constant in small}
    shapes: Mapping[str, tuple[int, ...]] = _probed(proto, inputs)
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    entries += [
        helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims))
        for constant in proto.graph.initializer
        if constant.name not in kept
    ]
    outputs = [onnx.ValueInfoProto(name=info.name) for info in proto.graph.output]
    graph = helper.make_graph(proto.graph.node, "probe", entries, outputs, small)
    probe = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4))
    try:
        inferred = shape_inference.infer_shapes(probe, data_prop=True)
    except Exception:  # the pictures do not go together; what computing them says, counts
        return {}
    found = {}
    for info in inferred.graph.output:
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[info.name] = tuple(dim.dim_value for dim in dims)
    return found


def _computed(proto: onnx.ModelProto, inputs: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    """By ONNX's reference, slowly, where inference does not follow."""
    feeds = {name: np.zeros(shape, np.float32) for name, shape in _probed(proto, inputs).items()}
    names = [info.name for info in proto.graph.output]
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(proto).run(names, feeds)
    except Exception:  # it takes one picture at a time, whatever its inputs say
        return {}
    return {name: np.shape(result) for name, result in zip(names, results, strict=True)}


def _elements(constant: onnx.TensorProto) -> int:
    return int(np.prod(constant.dims, dtype=np.int64))
