"""The memory of a plan in tests, step by step: nobody's numbers are overwritten before their last reader has read them."""

import numpy as np

from shufflenet.compiler.graph.ir import Graph
from shufflenet.compiler.plan.operands import Planes
from shufflenet.compiler.plan.steps import Plan, Stem

SCRATCH = -2


def indices(graph: Graph, planes: Planes) -> np.ndarray:
    """The bytes of the arena that an operand's planes take."""
    tensor = graph.tensors[planes.buffer.name]
    size = planes.element.bytes
    inside = np.arange(tensor.height * tensor.width * size)
    return (planes.offset + size * np.array(planes.starts)[:, None] + inside).reshape(-1)


def writers(graph: Graph) -> dict[str, set[str]]:
    """By the name of each operation, the operations that wrote what it reads; by the name of each output likewise."""
    inputs = {port.view.tensor for port in graph.inputs}
    wrote = {(o.output.tensor, plane): o.name for o in graph.operations for plane in o.output.planes}
    reads = [(o.name, o.inputs) for o in graph.operations] + [(f"output {p.name}", (p.view,)) for p in graph.outputs]
    return {
        name: {wrote[view.tensor, plane] for view in views if view.tensor not in inputs for plane in view.planes}
        for name, views in reads
    }


def check_memory(graph: Graph, plan: Plan) -> None:
    expected = writers(graph)
    # An input of the network may first be copied into the arena, which no operation of the graph says.
    copies = {f"copy {port.view.tensor}" for port in graph.inputs}
    expected |= {name: set() for name in copies}
    names: list[str] = []
    owner = np.full(plan.arena_bytes, -1)

    def found(operands: list[Planes]) -> set[str]:
        owners = {int(i) for planes in operands for i in np.unique(owner[indices(graph, planes)])}
        assert min(owners, default=0) >= 0, f"reads what is scratch or was never written: {owners}"
        return {names[i] for i in owners} - copies

    for step in plan.steps:
        inside = {member.name for member in step.members if member.output.buffer.place == "scratch"}
        results = [member for member in step.members if member.name not in inside]
        reads = [planes for planes in step.reads if planes.buffer.place == "arena"]
        # What is written, and scratch, must leave the operands alone; a residual may be overwritten by its sum, or row by row.
        addends = {planes.buffer for planes in (member.overwrites for member in step.members) if planes}
        added = found([planes for planes in reads if planes.buffer in addends])
        owner[step.scratch : step.scratch + step.scratch_bytes] = SCRATCH
        for member in results:
            owner[indices(graph, member.output)] = len(names)
            # A stem has its convolution's name, and makes what its pool does.
            pooled = [
                o.name
                for o in graph.operations
                if isinstance(member, Stem) and o.output.tensor == member.output.buffer.name
            ]
            names.append(pooled[0] if pooled else member.name)
        read = found([planes for planes in reads if planes.buffer not in addends])
        wanted = set().union(*(expected[member.name] for member in step.members if not isinstance(member, Stem)))
        assert read | added == wanted - inside, step.name
    for port in plan.outputs:
        assert found([port.planes]) == expected[f"output {port.name}"], port.name
