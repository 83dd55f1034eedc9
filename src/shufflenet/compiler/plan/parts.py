"""A graph of several networks, each with an input of its own: which steps and outputs follow from which input."""

from dataclasses import dataclass

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.plan.operands import Buffer
from shufflenet.compiler.plan.steps import Plan


@dataclass(frozen=True)
class Part:
    """What runs together: numbers of a plan's inputs, steps and outputs."""

    inputs: tuple[int, ...]
    steps: tuple[int, ...]
    outputs: tuple[int, ...]


def whole(plan: Plan) -> Part:
    """All of a plan."""
    counts = (len(plan.inputs), len(plan.steps), len(plan.outputs))
    return Part(*(tuple(range(count)) for count in counts))


def parts(plan: Plan) -> tuple[Part, ...]:
    """What follows from each input. Parts may run one after the other, in any order and any number of times: the outputs of each
    leave the arena with it. Raises CompileError where two inputs meet."""
    follows: dict[Buffer, int] = {port.planes.buffer: i for i, port in enumerate(plan.inputs)}
    sources = []
    for step in plan.steps:
        found = {follows[planes.buffer] for planes in step.reads if planes.buffer in follows}
        if len(found) != 1:
            met = " and ".join(plan.inputs[i].name for i in sorted(found)) or "no input"
            raise CompileError(f"{step.name} reads {met}; networks that run apart have one input each.")
        sources.append(found.pop())
        for planes in step.writes:
            follows[planes.buffer] = sources[-1]
    return tuple(
        Part(
            (i,),
            tuple(number for number, source in enumerate(sources) if source == i),
            tuple(number for number, port in enumerate(plan.outputs) if follows[port.planes.buffer] == i),
        )
        for i in range(len(plan.inputs))
    )
