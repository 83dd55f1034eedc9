"""Arithmetic that is done ahead of time: scales and shifts go into weights, padding into windows."""

import math
from dataclasses import replace

import numpy as np

from shufflenet.compiler.graph.ir import (
    Convolution,
    Copy,
    GlobalPool,
    Graph,
    Operation,
    Pad,
    Pool,
    every_window_touches,
)
from shufflenet.compiler.simplify.rewrite import Edit, Wiring, channel_order


def is_scale(operation: Operation | None, graph: Graph) -> bool:
    """Whether the operation is a scale and shift of each channel: a depthwise 1×1 convolution."""
    if not isinstance(operation, Convolution) or operation.groups != operation.input.channels:
        return False
    plain = operation.stride == (1, 1) and operation.padding == (0, 0, 0, 0)
    return plain and graph.constants[operation.weight].shape == (operation.groups, 1, 1, 1)


def fold_scale_back(operation: Operation, wiring: Wiring) -> Edit | None:
    """Batch normalisation after a convolution: into the convolution's weights and bias, in float64."""
    graph = wiring.graph
    if not isinstance(operation, Convolution) or not is_scale(operation, graph) or operation.addend is not None:
        return None
    before = wiring.producer(operation.input)
    if (
        not isinstance(before, Convolution)
        or not _is_bare(before)
        or not wiring.only_read_by(operation.input, operation)
    ):
        return None
    order = channel_order(before.output, operation.input)
    scale, shift = graph.constants[operation.weight].reshape(-1)[order], _bias(operation, graph)[order]
    weight = graph.constants[before.weight] * scale.reshape(-1, 1, 1, 1).astype(np.float64)
    bias = _bias(before, graph) * scale + shift
    folded = replace(
        before,
        name=operation.name,
        output=operation.output.select(tuple(order)),
        activation=operation.activation,
        weight=f"{operation.name}.weight",
        bias=f"{operation.name}.bias",
    )
    precision = np.float64 if is_scale(before, graph) else np.float32
    constants = {folded.weight: weight.astype(precision), f"{operation.name}.bias": bias.astype(precision)}
    if before.weight_scale is not None:
        folded = replace(folded, weight_scale=f"{operation.name}.weight_scale")
        constants[f"{operation.name}.weight_scale"] = (graph.constants[before.weight_scale] * scale).astype(np.float32)
    return Edit({before.name: (folded,), operation.name: ()}, constants)


def fold_scale_forward(operation: Operation, wiring: Wiring) -> Edit | None:
    """A scale and shift before a convolution, into it: exact only where no padding stands beside what was shifted."""
    graph = wiring.graph
    if not isinstance(operation, Convolution) or is_scale(operation, graph):
        return None
    before = wiring.producer(operation.input)
    if not isinstance(before, Convolution) or not is_scale(before, graph) or not _is_bare(before):
        return None
    if not wiring.only_read_by(operation.input, operation):
        return None
    channel = channel_order(operation.input, before.output)
    scale, shift = graph.constants[before.weight].reshape(-1)[channel], _bias(before, graph)[channel]
    if any(operation.padding) and shift.any():
        return None
    weight = graph.constants[operation.weight].astype(np.float64)
    groups = operation.groups
    by_group = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    shifted = (by_group * shift.reshape(groups, 1, -1, 1, 1)).sum(axis=(2, 3, 4)).reshape(-1)
    scaled = (by_group * scale.reshape(groups, 1, -1, 1, 1)).reshape(weight.shape)
    folded = replace(
        operation,
        input=before.input.select(tuple(channel)),
        weight_scale=None,
        weight=f"{operation.name}.weight",
        bias=f"{operation.name}.bias",
    )
    constants = {folded.weight: scaled.astype(np.float32)}
    constants[f"{operation.name}.bias"] = (_bias(operation, graph) + shifted).astype(np.float32)
    return Edit({before.name: (), operation.name: (folded,)}, constants)


def scale_before_copy(operation: Operation, wiring: Wiring) -> Edit | None:
    """A scale and shift of a concatenation, as one of each piece, where all pieces come from convolutions that take it in."""
    graph = wiring.graph
    if not isinstance(operation, Convolution) or not is_scale(operation, graph) or operation.addend is not None:
        return None
    copy = wiring.producer(operation.input)
    if not isinstance(copy, Copy) or not wiring.only_read_by(operation.input, operation):
        return None
    producers = [wiring.producer(piece) for piece in copy.pieces]
    if not all(
        isinstance(producer, Convolution) and _is_bare(producer) and wiring.only_read_by(piece, copy)
        for producer, piece in zip(producers, copy.pieces, strict=True)
    ):
        return None
    order = channel_order(copy.output, operation.input)
    scale, shift = graph.constants[operation.weight][order], _bias(operation, graph)[order]
    operations, constants, tensors, start = [], {}, [], 0
    for index, piece in enumerate(copy.pieces):
        name, part = f"{operation.name}.{index}", slice(start, start + piece.channels)
        start += piece.channels
        tensors.append(replace(graph.tensors[piece.tensor], name=name, channels=piece.channels))
        constants |= {f"{name}.weight": scale[part], f"{name}.bias": shift[part]}
        operations.append(
            replace(
                operation,
                name=name,
                input=piece,
                output=tensors[-1].whole,
                groups=piece.channels,
                weight=f"{name}.weight",
                bias=f"{name}.bias",
            )
        )
    joint = replace(
        copy,
        name=operation.name,
        output=operation.output.select(tuple(order)),
        pieces=tuple(tensor.whole for tensor in tensors),
    )
    return Edit({copy.name: (*operations, joint), operation.name: ()}, constants, tuple(tensors))


def fold_padding(operation: Operation, wiring: Wiring) -> Edit | None:
    """A Pad before a convolution or pool, into its own padding."""
    if not isinstance(operation, Convolution | Pool):
        return None
    pad = wiring.producer(operation.input)
    if not isinstance(pad, Pad):
        return None
    padding = tuple(a + b for a, b in zip(pad.padding, operation.padding, strict=True))
    view = pad.input.select(tuple(channel_order(operation.input, pad.output)))
    merged = replace(operation, input=view, padding=padding)
    if isinstance(merged, Pool) and merged.kind == "max":
        # Among numbers that are not negative, a zero is never the only largest.
        same = pad.value == -math.inf or pad.value <= 0 <= wiring.bounds[view.tensor][0]
        same = same and _touches(merged, wiring.graph)
    elif isinstance(merged, Pool):
        same = (
            pad.value == 0 and (merged.counts_padding or not any(operation.padding)) and _touches(merged, wiring.graph)
        )
        merged = replace(merged, counts_padding=True)
    else:
        same = pad.value == 0
    return Edit({operation.name: (merged,)}) if same else None


def name_global_pool(operation: Operation, wiring: Wiring) -> Edit | None:
    """A pool whose one window is the whole plane."""
    if not isinstance(operation, Pool) or any(operation.padding):
        return None
    _, *size = wiring.graph.shape(operation.input)
    _, *out_size = wiring.graph.shape(operation.output)
    if list(operation.kernel) != size or out_size != [1, 1] or operation.dilation != (1, 1):
        return None
    return Edit(
        {
            operation.name: (
                GlobalPool(
                    name=operation.name,
                    output=operation.output,
                    kind=operation.kind,
                    input=operation.input,
                    activation=operation.activation,
                ),
            )
        }
    )


def _is_bare(convolution: Convolution) -> bool:
    return convolution.activation is None and convolution.addend is None


def _bias(convolution: Convolution, graph: Graph) -> np.ndarray:
    if convolution.bias is None:
        return np.zeros(convolution.output.channels)
    return graph.constants[convolution.bias].astype(np.float64)


def _touches(pool: Pool, graph: Graph) -> bool:
    _, *size = graph.shape(pool.input)
    _, *out_size = graph.shape(pool.output)
    window = pool.kernel, pool.stride, pool.padding, pool.dilation
    return every_window_touches((size[0], size[1]), (out_size[0], out_size[1]), *window)
