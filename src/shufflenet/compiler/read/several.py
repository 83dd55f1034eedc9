"""What an ONNX file's values look like with several pictures. The graph itself is read for one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Batch, Port, Shape

# Pictures where the batch is open; an axis that holds them is so many times as long as with one.
PROBE = 3
# Elements: constants up to here may be shapes, larger ones are weights.
SMALL = 1024


@dataclass(frozen=True)
class Several:
    """The file's values with `pictures` pictures: the number that the file fixes, or PROBE where it leaves the batch open.

    `shapes` has those that are known; none where the file is for one picture.
    """

    pictures: int = 1
    fixed: bool = True
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def shape_of(self, name: str, one: Shape) -> Shape:
        """A value's shape as a file of a fixed batch means it; `one`, its shape for one picture, where the batch is open."""
        return self.shapes.get(name, one) if self.fixed else one

    def for_one(self, name: str, one: Shape, target: Sequence[int]) -> list[int]:
        """What the shape `target`, to which the value `name` is reshaped, is for one picture, whose shape of `name` is `one`.

        As it is, where the file does not fix several pictures. Raises ValueError where they do not stay apart.
        """
        several = self.shape_of(name, one)
        axis = batch_axis(one, several, self.pictures) if several != one else "mixed"
        if axis == "mixed":
            return list(target)
        ahead = numbers_ahead(several, axis)
        known = math.prod(n for n in target if n != -1)
        whole = [math.prod(several) // known if n == -1 and known else n for n in target]
        for place, n in enumerate(whole):
            if math.prod(whole[:place]) == ahead and n and n % self.pictures == 0:
                return [*whole[:place], n // self.pictures, *whole[place + 1 :]]
        raise ValueError


def several_pictures(proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Sequence[Port]) -> Several:
    """What the file says of several pictures; `nodes` are those that are read, each after what it takes.

    Raises CompileError for inputs of different batches.
    """
    dims = {info.name: info.type.tensor_type.shape.dim for info in proto.graph.input}
    found = {port.name: max(dims[port.name][0].dim_value, 0) for port in inputs}
    numbers = set(found.values()) - {0}
    if numbers == {1} and 0 not in found.values():
        return Several()
    if len(numbers) > 1:
        sizes = ", ".join(f"{name!r} has {number}" for name, number in found.items())
        raise CompileError(f"the inputs have different batches: {sizes}; export the network with one batch for all.")
    fixed = max(numbers, default=1)
    pictures = fixed if fixed > 1 else PROBE
    probed = {port.name: (found[port.name] or pictures, *port.shape[1:]) for port in inputs}
    shapes = _inferred(proto, nodes, probed)
    if any(info.name not in shapes for info in proto.graph.output):
        shapes |= _computed(proto, nodes, probed)
    return Several(pictures, fixed > 1, shapes)


def numbers_ahead(shape: Shape, axis: Batch) -> int:
    """How many numbers of one picture, or runs of them, lie before the second picture's first."""
    return math.prod(shape[:axis]) if isinstance(axis, int) else 1


def batch_axis(one: Shape, several: Shape, pictures: int) -> Batch:
    """Where a value holds its pictures, from its shapes for one of them and for several."""
    # A Squeeze of every axis of 1 takes a batch of one with it.
    if several == (pictures, *one):
        return "stacked"
    if len(one) != len(several):
        return "mixed"
    grown = [axis for axis, (a, b) in enumerate(zip(one, several, strict=True)) if a != b]
    return grown[0] if len(grown) == 1 and several[grown[0]] == pictures * one[grown[0]] else "mixed"


def _inferred(proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """By ONNX's shape inference, of the graph without its weights: the values whose shapes it finds out."""
    small = [c for c in proto.graph.initializer if _elements(c) <= SMALL and c.data_location != TensorProto.EXTERNAL]
    kept = {constant.name for constant in small}
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    entries += [
        helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims))
        for constant in proto.graph.initializer
        if constant.name not in kept
    ]
    outputs = [onnx.ValueInfoProto(name=info.name) for info in proto.graph.output]
    graph = helper.make_graph(nodes, "probe", entries, outputs, small)
    probe = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 4))
    try:
        inferred = shape_inference.infer_shapes(probe, data_prop=True).graph
    except Exception:  # the pictures do not go together; what computing them says, counts
        return {}
    found = dict(inputs)
    for info in (*inferred.value_info, *inferred.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[info.name] = tuple(dim.dim_value for dim in dims)
    return found


def _computed(proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """By ONNX's reference, slowly, where inference does not follow."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.node[:]
    probe.graph.node.extend(nodes)
    named = {info.name for info in probe.graph.output}
    probe.graph.output.extend(
        onnx.ValueInfoProto(name=name) for node in nodes for name in node.output if name and name not in named
    )
    try:
        evaluator = ReferenceEvaluator(probe)
        with np.errstate(all="ignore"):
            results = evaluator.run(None, {name: np.zeros(shape, np.float32) for name, shape in inputs.items()})
    except Exception:  # it takes one picture at a time, whatever its inputs say
        return {}
    return {str(name): np.shape(result) for name, result in zip(evaluator.output_names, results, strict=True)}


def _elements(constant: onnx.TensorProto) -> int:
    return int(np.prod(constant.dims, dtype=np.int64))
