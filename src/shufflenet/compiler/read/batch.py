"""How the results of several pictures lie in a network's outputs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Batch, Port, Shape
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.several import batch_axis, numbers_ahead
from shufflenet.compiler.read.values import Value

# Nodes that keep all numbers in their order.
_RESHAPES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


def with_batches(
    reader: Reader, nodes: Iterable[Node], inputs: Sequence[Port], outputs: Sequence[Port]
) -> tuple[Port, ...]:
    """The output ports of a network, each with how the results of several pictures lie in it.

    A file for one picture says nothing: there the results are put beside each other, along the first axis if it is the batch's.
    Raises CompileError where the file is for several pictures and does not keep them apart.
    """
    several = reader.several
    if several.pictures == 1:
        return tuple(replace(port, batch=0 if port.shape[:1] == (1,) else "stacked") for port in outputs)
    axes: dict[str, Batch] = {port.name: 0 for port in inputs}
    for node in nodes:
        for name in node.outputs:
            # Sizes that are taken at run time leave shapes unknown; then those of the output have to do.
            if isinstance(value := reader.values.get(name), Value) and name in several.shapes:
                axes[name] = _through(node, name, value.shape, reader, axes)
    for port in outputs:
        if several.fixed and axes.get(port.name, "mixed") == "mixed":
            raise CompileError(
                f"output {port.name!r} {list(several.shapes.get(port.name, port.shape))} does not keep the {several.pictures} "
                "pictures of the file's batch apart; export the network with batch 1 or an open batch."
            )
    return tuple(replace(port, batch=axes.get(port.name, "mixed")) for port in outputs)


def _through(node: Node, output: str, one: Shape, reader: Reader, axes: Mapping[str, Batch]) -> Batch:
    """Along which axis of a node's output its pictures lie, in order; "mixed" if they do not, or nobody knows."""
    shapes = reader.several.shapes
    read = [name for name in node.inputs if name in axes]
    if any(axes[name] == "mixed" for name in read):
        return "mixed"
    found = batch_axis(one, shapes[output], reader.several.pictures)
    moved = (
        bool(read)
        and node.kind in _RESHAPES
        and numbers_ahead(shapes[read[0]], axes[read[0]]) != numbers_ahead(shapes[output], found)
    )
    return "mixed" if moved or _reorders(node, found, len(one), reader) else found


def _reorders(node: Node, axis: Batch, rank: int, reader: Reader) -> bool:
    """Whether a node puts pictures beside other pictures, or turns their order around. Where it takes some of them, shapes tell."""
    if node.kind == "Concat":
        return node.attributes["axis"] % rank == axis
    if node.kind == "Slice":
        steps = reader.integers(node, 4, "steps") or []
        along = reader.integers(node, 3, "axes") or range(len(steps))
        return any(step < 0 and place % rank == axis for place, step in zip(along, steps, strict=False))
    return False
