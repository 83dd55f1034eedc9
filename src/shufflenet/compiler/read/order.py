"""Which nodes are read, and in which order: those that an output needs, each after those whose values it takes."""

import heapq
from collections.abc import Collection

import onnx

from shufflenet.compiler.read.node import Node, read_node


def needed_nodes(graph: onnx.GraphProto, known: Collection[str]) -> list[Node]:
    """The nodes on which the graph's outputs depend, in the file's order as far as that can run; it need not be sorted.

    `known` are the values that no node gives: inputs and constants. An output that nothing reads loses its name, since it asks for
    nothing. Raises CompileError for a value that nothing gives and for a circle.
    """
    nodes = [read_node(proto) for proto in graph.node]
    giver = {name: number for number, node in enumerate(nodes) for name in node.outputs if name}
    wanted = _wanted(graph, nodes, giver, known)
    read = {name for number in wanted for name in nodes[number].inputs} | {info.name for info in graph.output}
    waiting = {number: {giver[name] for name in nodes[number].inputs if name in giver} for number in wanted}
    readers: dict[int, list[int]] = {number: [] for number in wanted}
    for number, givers in waiting.items():
        for other in givers:
            readers[other].append(number)
    ready = [number for number, givers in waiting.items() if not givers]
    heapq.heapify(ready)
    ordered = []
    while ready:
        number = heapq.heappop(ready)
        ordered.append(nodes[number].with_outputs(read))
        for reader in readers[number]:
            waiting[reader].discard(number)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(ordered) < len(wanted):
        number = min(number for number, givers in waiting.items() if givers)
        nodes[number].refuse("depends on its own result", "check the file with onnx.checker")
    return ordered


def _wanted(graph: onnx.GraphProto, nodes: list[Node], giver: dict[str, int], known: Collection[str]) -> set[int]:
    """The numbers of the nodes that the outputs depend on."""
    wanted: set[int] = set()
    pending = [giver[info.name] for info in graph.output if info.name in giver]
    while pending:
        number = pending.pop()
        if number in wanted:
            continue
        wanted.add(number)
        for name in nodes[number].inputs:
            if name in giver:
                pending.append(giver[name])
            elif name and name not in known:
                nodes[number].refuse(f"reads {name!r}, which nothing gives", "check the file with onnx.checker")
    return wanted
