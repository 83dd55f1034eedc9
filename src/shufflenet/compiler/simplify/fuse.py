"""What can ride along: activations and additions go into the operation that computes their operand."""

import math
from dataclasses import replace

from shufflenet.compiler.graph.integers import holds_codes
from shufflenet.compiler.graph.ir import (
    Activate,
    Activation,
    Convolution,
    Copy,
    Elementwise,
    GlobalPool,
    Operation,
    Pool,
    View,
)
from shufflenet.compiler.simplify.bounds import leaves_unchanged
from shufflenet.compiler.simplify.rewrite import Edit, Wiring, channel_order


def drop_activation(operation: Operation, wiring: Wiring) -> Edit | None:
    """A ReLU of what is not negative, a Clip of what is within its bounds."""
    if not isinstance(operation, Activate) or wiring.producer(operation.input) is None:
        return None
    if not leaves_unchanged(operation.activation, wiring.bounds[operation.input.tensor]):
        return None
    return Edit({operation.name: ()}, aliases={operation.output.tensor: _as_written(operation)})


def activation_before_copy(operation: Operation, wiring: Wiring) -> Edit | None:
    """An activation of a concatenation, as one of each piece, if that makes all of them vanish."""
    if not isinstance(operation, Activate):
        return None
    copy = wiring.producer(operation.input)
    if not isinstance(copy, Copy) or not wiring.only_read_by(operation.input, operation):
        return None
    unchanged = [leaves_unchanged(operation.activation, wiring.bounds[piece.tensor]) for piece in copy.pieces]
    for piece, same in zip(copy.pieces, unchanged, strict=True):
        if not same and not (_takes_activation(wiring.producer(piece)) and wiring.only_read_by(piece, copy)):
            return None
    operations, tensors, pieces = [], [], []
    for index, (piece, same) in enumerate(zip(copy.pieces, unchanged, strict=True)):
        if same:
            pieces.append(piece)
            continue
        tensor = replace(wiring.graph.tensors[piece.tensor], name=f"{operation.name}.{index}", channels=piece.channels)
        tensors.append(tensor)
        pieces.append(tensor.whole)
        operations.append(replace(operation, name=tensor.name, input=piece, output=tensor.whole))
    order = channel_order(copy.output, operation.input)
    joint = replace(copy, name=operation.name, output=operation.output.select(tuple(order)), pieces=tuple(pieces))
    return Edit({copy.name: (*operations, joint), operation.name: ()}, tensors=tuple(tensors))


def name_hard_swish(operation: Operation, wiring: Wiring) -> Edit | None:
    """x · hard_sigmoid(x), as exporters write a HardSwish that their opset lacks."""
    if not isinstance(operation, Elementwise) or operation.kind != "multiply":
        return None
    for x, factor in ((operation.left, operation.right), (operation.right, operation.left)):
        gate = wiring.producer(factor)
        if not isinstance(gate, Activate) or gate.activation.kind != "hard_sigmoid":
            continue
        standard = math.isclose(gate.activation.alpha, 1 / 6, rel_tol=1e-6) and gate.activation.beta == 0.5
        if standard and x == gate.input.select(tuple(channel_order(factor, gate.output))):
            swish = Activate(name=operation.name, output=operation.output, input=x, activation=Activation("hard_swish"))
            return Edit({operation.name: (swish,)})
    return None


def fuse_activation(operation: Operation, wiring: Wiring) -> Edit | None:
    """Into the operation before, if nothing else reads what that one computes."""
    if not isinstance(operation, Activate):
        return None
    before = wiring.producer(operation.input)
    if not wiring.only_read_by(operation.input, operation):
        return None
    if not isinstance(before, Convolution | Pool | GlobalPool | Elementwise) or before.activation is not None:
        return None
    output = operation.output.select(tuple(channel_order(before.output, operation.input)))
    fused = replace(before, name=operation.name, output=output, activation=operation.activation)
    return Edit({before.name: (fused,), operation.name: ()})


def fuse_addition(operation: Operation, wiring: Wiring) -> Edit | None:
    """A residual, into the convolution, product or sum that it is added to; of two, into the one that comes later."""
    if not isinstance(operation, Elementwise) or operation.kind != "add" or operation.addend is not None:
        return None
    if wiring.graph.shape(operation.left) != wiring.graph.shape(operation.right):
        return None
    if holds_codes(wiring.graph, operation.output):
        return None
    candidates: list[tuple[int, Convolution | Elementwise, View, View]] = []
    for own, other in ((operation.left, operation.right), (operation.right, operation.left)):
        before = wiring.producer(own)
        if (
            not isinstance(before, Convolution | Elementwise)
            or before.activation is not None
            or before.addend is not None
        ):
            continue
        if wiring.only_read_by(own, operation) and not holds_codes(wiring.graph, before.inputs[0]):
            candidates.append((wiring.position[before.name], before, own, other))
    if not candidates:
        return None
    place, before, own, other = max(candidates, key=lambda candidate: candidate[0])
    order = tuple(channel_order(before.output, own))
    fused = replace(
        before,
        name=operation.name,
        output=operation.output.select(order),
        addend=other.select(order),
        activation=operation.activation,
    )
    other_producer = wiring.producer(other)
    if other_producer is not None and wiring.position[other_producer.name] > place:
        return Edit({before.name: (), operation.name: (fused,)})
    return Edit({before.name: (fused,), operation.name: ()})


def _takes_activation(operation: Operation | None) -> bool:
    return isinstance(operation, Convolution | Pool | GlobalPool | Elementwise) and operation.activation is None


def _as_written(operation: Activate) -> View:
    """What an activation reads, in the order of the planes that it writes."""
    place = channel_order(View("", tuple(range(operation.output.channels))), operation.output)
    return operation.input.select(tuple(place))
