"""Nodes that only say where numbers are: none of them costs a thing."""

import numpy as np

from shufflenet.compiler.graph.ir import Copy
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.reader import Reader
from shufflenet.compiler.read.values import Value, places, rearranged, reshaped


def identity(node: Node, reader: Reader) -> Value:
    """Identity, and Dropout, which does nothing at inference."""
    if node.kind == "Dropout" and reader.has(node, 2) and reader.constant(node, 2).any():
        node.refuse("is in training mode", "export the network in eval mode")
    return reader.value(node)


def cast(node: Node, reader: Reader) -> Value:
    """A cast to float32 of what is float32."""
    if node.attributes["to"] != 1:
        node.refuse("casts to another element type than float32", "export a float32 network")
    return reader.value(node)


def reshape(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    target = reader.integers(node, 1, "shape") or []
    if not node.attributes.get("allowzero", 0):
        whole = reader.several.shape_of(node.inputs[0], value.shape)
        target = [whole[i] if n == 0 and i < len(whole) else n for i, n in enumerate(target)]
    try:
        target = reader.several.for_one(node.inputs[0], value.shape, target)
    except ValueError:
        node.refuse(
            f"reshapes the {reader.several.pictures} pictures of the file's batch into each other, to {target}",
            "export the network with batch 1 or an open batch",
        )
    known = int(np.prod([n for n in target if n != -1]))
    count = int(np.prod(value.shape))
    shape = tuple(count // known if n == -1 and known else n for n in target)
    if int(np.prod(shape)) != count:
        node.refuse(
            f"reshapes {list(value.shape)} to {target}", "export the network with batch 1 and its sizes consistent"
        )
    return reshaped(value, shape)


def flatten(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    axis = node.attributes.get("axis", 1)
    rows = int(np.prod(value.shape[: axis if axis >= 0 else axis + len(value.shape)]))
    return reshaped(value, (rows, int(np.prod(value.shape)) // rows))


def squeeze(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    axes = reader.integers(node, 1, "axes")
    rank = len(value.shape)
    whole = reader.several.shape_of(node.inputs[0], value.shape)
    dropped = {axis % rank for axis in axes} if axes is not None else {i for i, n in enumerate(whole) if n == 1}
    return reshaped(value, tuple(n for i, n in enumerate(value.shape) if i not in dropped))


def unsqueeze(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    axes = reader.integers(node, 1, "axes") or []
    rank = len(value.shape) + len(axes)
    shape = iter(value.shape)
    added = {axis % rank for axis in axes}
    return reshaped(value, tuple(1 if i in added else next(shape) for i in range(rank)))


def transpose(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    order = node.attributes.get("perm") or list(range(len(value.shape)))[::-1]
    return rearranged(value, places(value).transpose(order))


def expand(node: Node, reader: Reader) -> Value:
    value = reader.value(node)
    whole = reader.several.shape_of(node.inputs[0], value.shape)
    shape = list(np.broadcast_shapes(whole, tuple(reader.integers(node, 1, "shape") or ())))
    for axis in range(-len(whole), 0):
        if whole[axis] != value.shape[axis]:
            shape[axis] = value.shape[axis]
    return value if tuple(shape) == value.shape else rearranged(value, np.broadcast_to(places(value), shape))


def cut(node: Node, reader: Reader) -> Value:
    """Slice."""
    value = reader.value(node)
    starts, ends = reader.integers(node, 1, "starts") or [], reader.integers(node, 2, "ends") or []
    axes, steps = reader.integers(node, 3, "axes"), reader.integers(node, 4, "steps")
    index = [slice(None)] * len(value.shape)
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        # Going backwards, an end before the first element is ONNX's way to say "including the first".
        past_first = step < 0 and end < -value.shape[axis]
        index[axis] = slice(start, None if past_first else end, step)
    return rearranged(value, places(value)[tuple(index)])


def gather(node: Node, reader: Reader) -> Value:
    value, indices = reader.value(node), reader.constant(node, 1)
    axis = node.attributes.get("axis", 0)
    length = value.shape[axis]
    if indices.size and not -length <= indices.min() <= indices.max() < length:
        node.refuse(
            f"takes {indices.tolist()} of the {length} along axis {axis} of {list(value.shape)}",
            "export the network with batch 1 or an open batch",
        )
    return rearranged(value, np.take(places(value), indices, axis=axis))


def split(node: Node, reader: Reader) -> tuple[Value, ...]:
    value = reader.value(node)
    axis = node.attributes.get("axis", 0)
    length, parts = value.shape[axis], len(node.outputs)
    sizes = reader.integers(node, 1, "split") or [-(-length // parts)] * (parts - 1)
    pieces = np.split(places(value), np.cumsum(sizes[: parts - 1]), axis=axis)
    return tuple(rearranged(value, piece) for piece in pieces)


def concat(node: Node, reader: Reader) -> Value:
    """One tensor of all the pieces' channels, unless they are channels of one tensor already."""
    values = [reader.value(node, i) for i in range(len(node.inputs))]
    if len({value.size for value in values}) > 1:
        sizes = " and ".join(f"{height}x{width}" for height, width in (value.size for value in values))
        node.refuse(f"concatenates planes of {sizes}", "only channels of one size can be concatenated")
    starts = np.cumsum([0] + [value.view.channels * value.area for value in values])
    axis = node.attributes["axis"]
    elements = np.concatenate([places(v) + start for v, start in zip(values, starts, strict=False)], axis=axis)
    views = [value.view for value in values]
    if len({view.tensor for view in views}) == 1:
        joint = type(views[0])(views[0].tensor, sum((view.planes for view in views), ()))
    else:
        joint = reader.tensor(node.output, sum(view.channels for view in views), values[0].size)
        reader.operations.append(Copy(name=node.output, output=joint, pieces=tuple(views)))
    return rearranged(Value(joint, values[0].size, (joint.channels, *values[0].size)), elements)
