"""An ONNX node in Python's terms."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import onnx
from onnx import helper

from shufflenet.compiler.errors import CompileError


@dataclass(frozen=True)
class Node:
    """`inputs` left out at the end or in between are empty names."""

    kind: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: onnx.NodeProto

    @property
    def output(self) -> str:
        return self.outputs[0]

    def with_outputs(self, read: Collection[str]) -> "Node":
        """The node without the names of further outputs that nothing reads: Dropout's mask, MaxPool's indices."""
        if self.kind == "BatchNormalization":  # there the further outputs say that it is in training mode
            return self
        first, *others = self.outputs
        return replace(self, outputs=(first, *(name if name in read else "" for name in others)))

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raise the sentence: the node, what it asks for, what would do."""
        raise CompileError(f"{self.label} {what}; {remedy}.")


def read_node(proto: onnx.NodeProto) -> Node:
    """The node; text attributes as str."""
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    kind = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
    name = proto.name or next(iter(proto.output), "")
    return Node(kind, f"{kind} node {name!r}", tuple(proto.input), tuple(proto.output), attributes, proto)
