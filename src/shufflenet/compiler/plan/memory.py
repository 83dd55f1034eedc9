"""Graph → Plan: every decision about memory, layouts and tiles. What is left for emit.py is to spell it in C.

`lowering.py` chooses the steps; here every tensor gets its place in the arena. Kernels may read (never use) up to MARGIN_BYTES
before and after any plane, so the arena has that margin at both ends.
"""

from dataclasses import replace

from shufflenet.compiler.graph.ir import Graph, View
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES, aligned, plane_stride
from shufflenet.compiler.plan.arena import Lifetime, lower_bound, place, spans
from shufflenet.compiler.plan.lowering import Lowering
from shufflenet.compiler.plan.machines import USUAL, Machine
from shufflenet.compiler.plan.operands import Buffer, Planes
from shufflenet.compiler.plan.steps import Plan, PlannedPort, Step
from shufflenet.compiler.plan.strips import in_strips
from shufflenet.compiler.plan.tasks import deal

MARGIN_BYTES = 128


def make_plan(graph: Graph, machine: Machine | None = None) -> Plan:
    """Plan each operation in turn, then give every tensor its place in the arena. The plan suits `machine` (default: USUAL) best."""
    machine = machine or USUAL
    lowering = Lowering(graph, machine)
    planned = tuple(lowering.steps())
    moved, home = _reuse_addends(graph, planned)
    results = tuple(_moved(lowering.planes(port.view), home) for port in graph.outputs)
    moved = tuple(_dealt(step, machine) for step in in_strips(moved, {planes.buffer for planes in results}, machine))
    # Others may write beside what a dealt step reads, while it reads there.
    apart = {planes.buffer for step in moved if step.tasks for planes in step.reads if planes.buffer.place == "arena"}
    lifetimes = _lifetimes(graph, moved, results, apart)
    offsets, size = place(lifetimes)
    offsets = {buffer: offset + MARGIN_BYTES * (1 + (buffer in apart)) for buffer, offset in offsets.items()}
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
        worker_bytes=_worker_bytes(moved),
        number=graph.number,
        weight=graph.weight,
        bound_bytes=lower_bound(
            [replace(t, size=graph.tensors[t.buffer.name].bytes) for t in lifetimes if t.buffer.place == "arena"]
        ),
    )


def _dealt(step: Step, machine: Machine) -> Step:
    """The step as tasks, if it is worth it."""
    if step.tasks:
        return step
    return replace(step, tasks=deal(machine, step.units, step.work, step.moved_bytes, step.least_units))


def _worker_bytes(planned: tuple[Step, ...]) -> int:
    """Scratch for one thread more, which no step keeps anything in."""
    most = max((step.worker_bytes for step in planned if step.tasks), default=0)
    return aligned(most) + MARGIN_BYTES if most else 0


def _moved(planes: Planes, home: dict[Buffer, Buffer]) -> Planes:
    return replace(planes, buffer=home.get(planes.buffer, planes.buffer))


def _reuse_addends(graph: Graph, planned: tuple[Step, ...]) -> tuple[tuple[Step, ...], dict[Buffer, Buffer]]:
    """Write a residual sum over its addend where nothing needs that afterwards: the unit's two large tensors become one.

    The steps so changed, and for each buffer that is gone the one in whose place it lives.
    """
    found = spans([step.buffers for step in planned], [Buffer(port.view.tensor) for port in graph.outputs])
    home: dict[Buffer, Buffer] = {}
    for i, step in enumerate(planned):
        addend, output = step.overwrites, step.output
        if (
            addend is not None
            and addend.planes == output.planes
            and graph.tensors[addend.buffer.name].shape == graph.tensors[output.buffer.name].shape
            and found[addend.buffer][1] == i == found[output.buffer][0]
            and all(p.buffer != addend.buffer for p in (*step.reads, output) if p is not addend)
        ):
            home[output.buffer] = home.get(addend.buffer, addend.buffer)
    return tuple(step.moved(lambda planes: _moved(planes, home)) for step in planned), home


def _lifetimes(
    graph: Graph, planned: tuple[Step, ...], outputs: tuple[Planes, ...], apart: set[Buffer]
) -> list[Lifetime]:
    """Of all tensors in the arena, and of the steps' scratch; outputs live to the end. Those `apart` have a margin of their own."""
    scratch = {step.name: step.scratch_bytes for step in planned}

    def size(buffer: Buffer) -> int:
        if buffer.place == "scratch":
            return aligned(scratch[buffer.name])
        tensor = graph.tensors[buffer.name]
        return aligned(
            tensor.channels * plane_stride(tensor.height, tensor.width, tensor.element) * tensor.element.bytes
        )

    found = spans([step.buffers for step in planned], [planes.buffer for planes in outputs])
    return [
        Lifetime(buffer, size(buffer) + 2 * MARGIN_BYTES * (buffer in apart), *span) for buffer, span in found.items()
    ]


def _pixels(graph: Graph, view: View) -> int:
    tensor = graph.tensors[view.tensor]
    return tensor.height * tensor.width


def _placed(planes: Planes, offsets: dict[Buffer, int]) -> Planes:
    return planes if planes.buffer.place == "port" else replace(planes, offset=offsets[planes.buffer])


def _resolve(step: Step, offsets: dict[Buffer, int]) -> Step:
    """The step with every offset filled in."""
    placed = step.moved(lambda planes: _placed(planes, offsets))
    return replace(placed, scratch=offsets[Buffer(step.name, "scratch")]) if step.scratch_bytes else placed
