"""Graph → Plan: every decision about memory, layouts and tiles. What is left for emit.py is to spell it in C.

`lowering.py` chooses the steps; here every tensor gets its place in the arena. Kernels may read (never use) up to MARGIN_BYTES
before and after any plane, so the arena has that margin at both ends.
"""

from dataclasses import fields, replace

from shufflenet.compiler.graph.ir import Graph, View
from shufflenet.compiler.plan import steps
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES, aligned, plane_stride
from shufflenet.compiler.plan.arena import Lifetime, lower_bound, place
from shufflenet.compiler.plan.lowering import Lowering
from shufflenet.compiler.plan.steps import Buffer, Plan, Planes, PlannedPort, Step
from shufflenet.compiler.plan.strips import in_strips

MARGIN_BYTES = 128


def make_plan(graph: Graph) -> Plan:
    """Plan each operation in turn, then give every tensor its place in the arena."""
    lowering = Lowering(graph)
    planned = tuple(lowering.steps())
    moved, home = _reuse_addends(graph, planned)
    results = tuple(_moved(lowering.planes(port.view), home) for port in graph.outputs)
    moved = tuple(in_strips(moved, {planes.buffer for planes in results}))
    lifetimes = _lifetimes(graph, moved, results)
    offsets, size = place(lifetimes)
    offsets = {buffer: offset + MARGIN_BYTES for buffer, offset in offsets.items()}
    return Plan(
        steps=tuple(_resolve(step, offsets) for step in moved),
        inputs=tuple(
            PlannedPort(p.name, p.shape, lowering.from_port(p.view), _pixels(graph, p.view)) for p in graph.inputs
        ),
        outputs=tuple(
            PlannedPort(p.name, p.shape, _placed(planes, offsets), _pixels(graph, p.view), p.batch)
            for p, planes in zip(graph.outputs, results, strict=True)
        ),
        weights=lowering.weights.packed(),
        arena_bytes=size + 2 * MARGIN_BYTES + CACHE_LINE_BYTES,  # room to align it
        bound_bytes=lower_bound(
            [replace(t, size=graph.tensors[t.buffer.name].bytes) for t in lifetimes if t.buffer.place == "arena"]
        ),
    )


def _moved(planes: Planes, home: dict[Buffer, Buffer]) -> Planes:
    return replace(planes, buffer=home.get(planes.buffer, planes.buffer))


def _reuse_addends(graph: Graph, planned: tuple[Step, ...]) -> tuple[tuple[Step, ...], dict[Buffer, Buffer]]:
    """Write a residual sum over its addend where nothing needs that afterwards: the unit's two large tensors become one.

    The steps so changed, and for each buffer that is gone the one in whose place it lives.
    """
    last = {planes.buffer: i for i, step in enumerate(planned) for planes in step.operands.values()}
    last |= {Buffer(port.view.tensor): len(planned) for port in graph.outputs}
    first: dict[Buffer, int] = {}
    for i, step in enumerate(planned):
        first.setdefault(step.output.buffer, i)
    home: dict[Buffer, Buffer] = {}
    for i, step in enumerate(planned):
        addend: Planes | None = getattr(step, "addend", None)
        if (
            isinstance(step, steps.Product | steps.PanelProduct | steps.Combine)
            and addend is not None
            and addend.planes == step.output.planes
            and graph.tensors[addend.buffer.name].shape == graph.tensors[step.output.buffer.name].shape
            and last[addend.buffer] == i == first[step.output.buffer]
            and all(p.buffer != addend.buffer for name, p in step.operands.items() if name != "addend")
        ):
            home[step.output.buffer] = home.get(addend.buffer, addend.buffer)

    moved = (replace(s, **{name: _moved(planes, home) for name, planes in s.operands.items()}) for s in planned)
    return tuple(moved), home


def _lifetimes(graph: Graph, planned: tuple[Step, ...], outputs: tuple[Planes, ...]) -> list[Lifetime]:
    """From the first step that touches a tensor to the last; outputs live to the end."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    found = []
    for i, step in enumerate(planned):
        if step.scratch_bytes:
            found.append(Lifetime(Buffer(step.name, "scratch"), aligned(step.scratch_bytes), i, i))
        for planes in step.operands.values():
            first.setdefault(planes.buffer, i)
            last[planes.buffer] = i
    for planes in outputs:
        last[planes.buffer] = len(planned)
    for buffer, start in first.items():
        tensor = graph.tensors[buffer.name]
        size = tensor.channels * plane_stride(tensor.height, tensor.width, tensor.element) * tensor.element.bytes
        found.append(Lifetime(buffer, aligned(size), start, last[buffer]))
    return found


def _pixels(graph: Graph, view: View) -> int:
    tensor = graph.tensors[view.tensor]
    return tensor.height * tensor.width


def _placed(planes: Planes, offsets: dict[Buffer, int]) -> Planes:
    return planes if planes.buffer.place == "port" else replace(planes, offset=offsets[planes.buffer])


def _resolve(step: Step, offsets: dict[Buffer, int]) -> Step:
    """The step with every offset filled in."""
    found = {f.name: getattr(step, f.name) for f in fields(step)}
    changes: dict[str, Planes | Step | int] = {
        name: _placed(value, offsets) if isinstance(value, Planes) else _resolve(value, offsets)
        for name, value in found.items()
        if isinstance(value, Planes | Step)
    }
    if step.scratch_bytes:
        changes["scratch"] = offsets[Buffer(step.name, "scratch")]
    return replace(step, **changes)
