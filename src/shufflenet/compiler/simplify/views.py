"""Concatenations, slices and shuffles become addresses.

Tensors that are concatenated become planes of one buffer, into which their producers write. A buffer's planes are then put in the
order in which its most demanding reader wants them, so that a shuffle is done by where rows are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from shufflenet.compiler.graph.ir import Convolution, Copy, Graph, Operation, Port, View
from shufflenet.compiler.simplify.order import is_channelwise
from shufflenet.compiler.simplify.rewrite import with_views

Plane = tuple[str, int]  # a tensor and the number of its plane


def share_buffers(graph: Graph) -> Graph:
    """Without the Copies that are addresses. A Copy of the network's input stays, for the input is the caller's."""
    graph = _copy_inputs(graph)
    inputs = {port.view.tensor for port in graph.inputs}
    joins = [o for o in graph.operations if isinstance(o, Copy) and o.pieces[0].tensor not in inputs]
    sources = {plane: source for join in joins for plane, source in _joined(join)}

    def source(plane: Plane) -> Plane:
        while plane in sources:
            plane = sources[plane]
        return plane

    kept = [operation for operation in graph.operations if operation not in joins]
    buffers = _buffers(graph, joins, source)
    members: dict[str, list[Plane]] = {}
    for operation in kept:
        for plane in _planes(operation.output):
            members.setdefault(buffers[plane[0]], []).append(plane)
    written = {plane: index for planes in members.values() for index, plane in enumerate(planes)}
    place = {(name, plane): (name, plane) for name in inputs for plane in range(graph.tensors[name].channels)}
    last_written = {buffers[operation.output.tensor]: index for index, operation in enumerate(kept)}
    readers = _readers(kept, graph.outputs, lambda view: buffers.get(source((view.tensor, view.planes[0]))[0], ""))
    for buffer in sorted(members, key=lambda name: -last_written[name]):
        ordered: dict[Plane, None] = {}
        wishes = [_wish(operation, view, source, written, place) for operation, view in readers.get(buffer, [])]
        for _, planes in sorted(wishes, key=lambda wish: (-wish[0], -len(wish[1]))):
            ordered.update(dict.fromkeys(planes))
        ordered.update(dict.fromkeys(members[buffer]))
        place.update({plane: (buffer, index) for index, plane in enumerate(ordered)})

    def address(view: View) -> View:
        places = [place[source(plane)] for plane in _planes(view)]
        return View(places[0][0], tuple(index for _, index in places))

    tensors = {name: graph.tensors[name] for name in inputs}
    for name, planes in members.items():
        like = graph.tensors[planes[0][0]]
        tensors[name] = replace(like, name=name, channels=len(planes))
    return replace(
        graph,
        operations=tuple(with_views(operation, address) for operation in kept),
        outputs=tuple(replace(port, view=address(port.view)) for port in graph.outputs),
        tensors=tensors,
    )


def _planes(view: View) -> list[Plane]:
    return [(view.tensor, plane) for plane in view.planes]


def _joined(join: Copy) -> list[tuple[Plane, Plane]]:
    """Each plane that the Copy writes, and the one it comes from."""
    return list(zip(_planes(join.output), (plane for piece in join.pieces for plane in _planes(piece)), strict=True))


def _copy_inputs(graph: Graph) -> Graph:
    """With each piece of a concatenation that is an input of the network replaced by its copy."""
    inputs = {port.view.tensor for port in graph.inputs}
    operations: list[Operation] = []
    tensors = dict(graph.tensors)
    for operation in graph.operations:
        if isinstance(operation, Copy) and len(operation.pieces) > 1:
            pieces = []
            for index, piece in enumerate(operation.pieces):
                if piece.tensor in inputs:
                    name = f"{operation.name}.{index}"
                    tensors[name] = replace(tensors[piece.tensor], name=name, channels=piece.channels)
                    operations.append(Copy(name=name, output=tensors[name].whole, pieces=(piece,)))
                    piece = tensors[name].whole
                pieces.append(piece)
            operation = replace(operation, pieces=tuple(pieces))
        operations.append(operation)
    return replace(graph, operations=tuple(operations), tensors=tensors)


def _buffers(graph: Graph, joins: list[Copy], source: Callable[[Plane], Plane]) -> dict[str, str]:
    """The buffer of each tensor that an operation computes: its own, or that of what it is concatenated with."""
    buffers = {operation.output.tensor: operation.output.tensor for operation in graph.operations}
    for join in joins:
        joined = {buffers[source(plane)[0]] for plane in _planes(join.output)}
        buffers.update({tensor: join.output.tensor for tensor, buffer in buffers.items() if buffer in joined})
    return buffers


def _readers(
    operations: list[Operation], outputs: tuple[Port, ...], buffer: Callable[[View], str]
) -> dict[str, list[tuple[Operation | None, View]]]:
    """Who reads each buffer, and by which view; None is an output of the network."""
    found: dict[str, list[tuple[Operation | None, View]]] = {}
    for operation in operations:
        for view in operation.inputs:
            found.setdefault(buffer(view), []).append((operation, view))
    for port in outputs:
        found.setdefault(buffer(port.view), []).append((None, port.view))
    return found


def _wish(
    operation: Operation | None,
    view: View,
    source: Callable[[Plane], Plane],
    written: Mapping[Plane, int],
    place: Mapping[Plane, Plane],
) -> tuple[int, list[Plane]]:
    """How much a reader cares for the order of planes, and the order it would have.

    A convolution that mixes channels walks through them for every tile of pixels, and cares most; within a group it takes each
    tensor's in any order, so in that in which they are written. An operation on each channel by itself would have the order in
    which it writes.
    """
    planes = [source(plane) for plane in _planes(view)]
    if isinstance(operation, Convolution) and not is_channelwise(operation) and view == operation.input:
        size = len(planes) // operation.groups
        groups = [planes[start : start + size] for start in range(0, len(planes), size)]
        tensors = list(dict.fromkeys(tensor for tensor, _ in planes))
        return 2, [
            plane for group in groups for plane in sorted(group, key=lambda p: (tensors.index(p[0]), written[p]))
        ]
    if operation is None or view.channels != operation.output.channels:
        return 1, planes
    targets = [place.get(source(plane)) for plane in _planes(operation.output)]
    if any(target is None for target in targets):
        return 1, planes
    order = sorted(range(len(planes)), key=lambda channel: targets[channel] or ("", 0))
    return 1, [planes[channel] for channel in order]
