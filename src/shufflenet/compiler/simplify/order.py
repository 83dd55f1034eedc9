"""The order in which an operation goes through its channels is free: it is made that of the planes in memory."""

from dataclasses import replace

import numpy as np

from shufflenet.compiler.graph.ir import (
    Activate,
    Convolution,
    Copy,
    Dequantize,
    Elementwise,
    GlobalPool,
    Graph,
    Lookup,
    Operation,
    Pad,
    Pool,
    Quantize,
    Resample,
)
from shufflenet.compiler.simplify.rewrite import with_views


def is_channelwise(operation: Operation) -> bool:
    """Whether each output channel is a function of the one input channel at its place."""
    match operation:
        case Convolution():
            return operation.groups == operation.input.channels == operation.output.channels
        case (
            Pool()
            | GlobalPool()
            | Resample()
            | Elementwise()
            | Activate()
            | Pad()
            | Quantize()
            | Dequantize()
            | Lookup()
        ):
            return True
        case Copy():
            return len(operation.pieces) == 1
        case _:
            return False


def sort_channels(graph: Graph) -> Graph:
    """With every operation's channels in ascending order of planes, its weights along with them.

    An operation on each channel by itself goes by the planes it writes. Another convolution goes, within each group, by the planes
    it reads and by those it writes, and takes its groups by the planes they read.
    """
    constants = dict(graph.constants)
    operations = tuple(_sorted(operation, constants) for operation in graph.operations)
    return replace(graph, operations=operations, constants=constants)


def _sorted(operation: Operation, constants: dict[str, np.ndarray]) -> Operation:
    if isinstance(operation, Convolution):
        return _sorted_convolution(operation, constants)
    if is_channelwise(operation):
        order = tuple(np.argsort(operation.output.planes, kind="stable").tolist())
        return with_views(operation, lambda view: view.select(order))
    return operation


def _sorted_convolution(operation: Convolution, constants: dict[str, np.ndarray]) -> Convolution:
    groups = operation.groups
    read = np.array(operation.input.planes).reshape(groups, -1)
    written = np.array(operation.output.planes).reshape(groups, -1)
    key = written.min(axis=1) if is_channelwise(operation) else read.min(axis=1)
    group = np.argsort(key, kind="stable")[:, None]
    columns, rows = (
        np.argsort(read, axis=1, kind="stable")[group[:, 0]],
        np.argsort(written, axis=1, kind="stable")[group[:, 0]],
    )
    inputs = (group * read.shape[1] + columns).reshape(-1)
    outputs = (group * written.shape[1] + rows).reshape(-1)
    if (inputs == np.arange(inputs.size)).all() and (outputs == np.arange(outputs.size)).all():
        return operation
    weight = constants[operation.weight].reshape(*written.shape, read.shape[1], *constants[operation.weight].shape[2:])
    weight = weight[group[..., None], rows[:, :, None], columns[:, None, :]]
    constants[operation.weight] = np.ascontiguousarray(weight.reshape(constants[operation.weight].shape))
    for name in (operation.bias, operation.weight_scale):
        if name is not None:
            constants[name] = constants[name][outputs]
    order = tuple(outputs.tolist())
    return replace(
        operation,
        input=operation.input.select(tuple(inputs.tolist())),
        output=operation.output.select(order),
        addend=None if operation.addend is None else operation.addend.select(order),
    )
