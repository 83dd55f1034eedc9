"""A step's function as calls of kernels: who writes them, and the arguments that many kernels take."""

from collections.abc import Iterator
from functools import singledispatch

from shufflenet.compiler.c.addresses import at
from shufflenet.compiler.c.definitions import Definitions, number
from shufflenet.compiler.c.units import count_planes, from_begin
from shufflenet.compiler.plan.operands import Planes
from shufflenet.compiler.plan.steps import Step


@singledispatch
def body(step: Step, definitions: Definitions) -> Iterator[str]:
    """The statements of a step's function; plane_functions.py and integer_functions.py have those of each kind of step."""
    raise TypeError(f"{type(step).__name__} has no C")


def planes(operand: Planes | None, definitions: Definitions, step: Step | None = None) -> str:
    """Memory, and where in it each plane starts; from the first plane on that a call of `step` makes."""
    if operand is None:
        return "NULL, NULL"
    memory = at(operand) if operand.buffer.place != "port" else "input"
    return f"{memory}, {from_begin(step, definitions.starts(operand))}"


def through(step: Step, source: Planes, definitions: Definitions) -> str:
    """How many planes, from where, to where."""
    return f"{count_planes(step)}, {planes(source, definitions, step)}, {planes(step.output, definitions, step)}"


def limits(step: Step) -> str:
    """alpha and beta of the activation."""
    alpha, beta = (step.activation.alpha, step.activation.beta) if step.activation else (0, 0)
    return f"{number(alpha)}, {number(beta)}"
