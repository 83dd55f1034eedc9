"""How a pass changes a graph: rules look at one operation and its neighbours, and propose edits.

Until the pass `views`, every tensor is written whole by one operation, in whatever order of channels; rules rely on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from shufflenet.compiler.graph.ir import Graph, Operation, Port, Tensor, View
from shufflenet.compiler.simplify.bounds import Bounds, bounds


@dataclass(frozen=True)
class Edit:
    """Operations that take the place of others, by name; none removes one. A rule may read what an edit does not touch.

    `aliases` maps a tensor that goes to the view that holds its planes from now on.
    """

    replacements: Mapping[str, tuple[Operation, ...]]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    aliases: Mapping[str, View] = field(default_factory=dict)


class Wiring:
    """Who writes and who reads each tensor of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {operation.name: i for i, operation in enumerate(graph.operations)}
        self._producer = {operation.output.tensor: operation for operation in graph.operations}
        self._readers: dict[str, list[Operation | Port]] = {}
        for operation in graph.operations:
            for view in operation.inputs:
                self._readers.setdefault(view.tensor, []).append(operation)
        for port in graph.outputs:
            self._readers.setdefault(port.view.tensor, []).append(port)

    def producer(self, view: View) -> Operation | None:
        """The operation that writes what the view reads; None for an input of the network."""
        return self._producer.get(view.tensor)

    def only_read_by(self, view: View, operation: Operation) -> bool:
        """Whether nothing but this operation reads the view's tensor, and it reads it once and all of it."""
        whole = sorted(view.planes) == list(range(self.graph.tensors[view.tensor].channels))
        return whole and self._readers[view.tensor] == [operation]

    @cached_property
    def bounds(self) -> dict[str, Bounds]:
        """Least and largest number that each tensor can hold."""
        return bounds(self.graph)


Rule = Callable[[Operation, Wiring], Edit | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Apply a rule wherever it proposes an edit, until it proposes none."""
    while True:
        wiring = Wiring(graph)
        edits: list[Edit] = []
        touched: set[str] = set()
        for operation in graph.operations:
            if operation.name in touched:
                continue
            edit = rule(operation, wiring)
            if edit is not None and touched.isdisjoint(edit.replacements):
                edits.append(edit)
                touched.update(edit.replacements)
        if not edits:
            return graph
        graph = _apply(graph, edits)


def channel_order(written: View, read: View) -> list[int]:
    """For each channel of a view as written, which channel of a view that reads all of the same tensor it becomes."""
    place = {plane: channel for channel, plane in enumerate(read.planes)}
    return [place[plane] for plane in written.planes]


def remove_unused(graph: Graph) -> Graph:
    """Without the operations, tensors and constants that no output needs."""
    needed = {port.view.tensor for port in graph.outputs}
    kept: list[Operation] = []
    for operation in reversed(graph.operations):
        if operation.output.tensor in needed:
            kept.append(operation)
            needed.update(view.tensor for view in operation.inputs)
    needed.update(port.view.tensor for port in graph.inputs)
    named = {getattr(operation, f, None) for operation in kept for f in ("weight", "bias", "weight_scale", "table")}
    return replace(
        graph,
        operations=tuple(reversed(kept)),
        tensors={name: tensor for name, tensor in graph.tensors.items() if name in needed},
        constants={name: array for name, array in graph.constants.items() if name in named},
    )


def with_views(operation: Operation, change: Callable[[View], View]) -> Operation:
    """The operation with every view that it reads or writes changed."""
    changed = {}
    for f in fields(operation):
        value = getattr(operation, f.name)
        if isinstance(value, View):
            changed[f.name] = change(value)
        elif f.name == "pieces":
            changed[f.name] = tuple(change(piece) for piece in value)
    return replace(operation, **changed)


def _apply(graph: Graph, edits: list[Edit]) -> Graph:
    replacements = {name: new for edit in edits for name, new in edit.replacements.items()}
    aliases = {name: view for edit in edits for name, view in edit.aliases.items()}
    constants = dict(graph.constants) | {name: array for edit in edits for name, array in edit.constants.items()}
    tensors = dict(graph.tensors) | {tensor.name: tensor for edit in edits for tensor in edit.tensors}

    def resolve(view: View) -> View:
        while view.tensor in aliases:
            view = aliases[view.tensor].select(view.planes)
        return view

    kept = (new for old in graph.operations for new in replacements.get(old.name, (old,)))
    operations = tuple(with_views(operation, resolve) for operation in kept)
    outputs = tuple(replace(port, view=resolve(port.view)) for port in graph.outputs)
    return remove_unused(Graph(graph.inputs, outputs, operations, tensors, constants))
