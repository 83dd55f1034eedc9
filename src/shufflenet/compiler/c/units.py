"""A step's units as C: where a function that is dealt to threads does those from `begin` to `end`, and any other does all."""

from collections.abc import Iterator

from shufflenet.compiler.plan.operands import Chunks
from shufflenet.compiler.plan.steps import Step


def takes_scratch(step: Step) -> bool:
    """Whether a step's function is told where its scratch is."""
    return bool(step.tasks and step.scratch_bytes)


def count_planes(step: Step) -> str:
    """How many planes a call makes."""
    return "end - begin" if step.by_planes and step.tasks else str(len(step.output.planes))


def from_begin(step: Step | None, numbers: str, each: int = 1) -> str:
    """Numbers of which each plane has so many, from the first plane on that a call makes."""
    if not (step and step.by_planes and step.tasks):
        return numbers
    return f"{numbers} + {f'{each} * ' if each > 1 else ''}begin"


def each_chunk(step: Step, groups: int, chunks: tuple[Chunks, ...]) -> Iterator[tuple[str, Chunks]]:
    """Loops over chunks, for each group; over those alone that a call is to do, where the step is dealt to threads."""
    done = 0
    for chunk in chunks:
        loop = f"for (int first = {chunk.first}; first < {chunk.end}; first += {chunk.count}) {{"
        if step.tasks:
            units = f"unit = group + {done * groups}" if done else "unit = group"
            loop = (
                f"for (int first = {chunk.first}, {units}; first < {chunk.end}; first += {chunk.count}, unit += {groups}) {{\n"
                "    if (unit < begin || unit >= end) continue;"
            )
        done += chunk.pieces
        yield loop, chunk
