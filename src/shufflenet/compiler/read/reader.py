"""The graph while it is being read."""

from dataclasses import dataclass, field

import numpy as np

from shufflenet.compiler.graph.ir import Copy, Graph, Operation, Pair, Port, Quantization, Tensor, View
from shufflenet.compiler.read.node import Node
from shufflenet.compiler.read.several import Several
from shufflenet.compiler.read.values import Value


@dataclass
class Reader:
    """What the nodes so far have come to. `values` holds every ONNX value by name: a constant, or numbers of the network.

    `scales` has, for constants that a DequantizeLinear made, what their numbers are whole multiples of, ready to be broadcast.
    `several` is what the file says of several pictures; everything else here is for one.
    """

    opset: int
    values: dict[str, np.ndarray | Value] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    several: Several = field(default_factory=Several)

    def has(self, node: Node, index: int) -> bool:
        """Whether the node has this optional input."""
        return index < len(node.inputs) and node.inputs[index] != ""

    def operand(self, node: Node, index: int) -> np.ndarray | Value:
        """The node's input, be it constant or not."""
        if not self.has(node, index):
            node.refuse(f"lacks its input {index}", "export the network again")
        return self.values[node.inputs[index]]

    def value(self, node: Node, index: int = 0) -> Value:
        """The node's input, which the network computes."""
        operand = self.operand(node, index)
        if isinstance(operand, np.ndarray):
            node.refuse(
                f"takes the constant {node.inputs[index]!r} as input {index}", "it has to come from the network's input"
            )
        return operand

    def planes(self, node: Node, index: int = 0) -> Value:
        """The node's input as planes, (1, channels, height, width)."""
        value = self.value(node, index)
        if not value.is_planar:
            node.refuse(
                f"reads {node.inputs[index]!r} {list(value.shape)}, in which the numbers of {value.view.channels} planes of "
                f"{value.size[0]}x{value.size[1]} have changed places or shape",
                "export the network in NCHW layout, with batch 1, and let reshapes and transposes move whole channels only",
            )
        return value

    def constant(self, node: Node, index: int) -> np.ndarray:
        """The node's input, which must be constant."""
        operand = self.operand(node, index)
        if isinstance(operand, Value):
            node.refuse(f"computes its input {index}, {node.inputs[index]!r}, at run time", "it must be a constant")
        return operand

    def integers(self, node: Node, index: int, attribute: str) -> list[int] | None:
        """A list of integers that newer opsets write as an input and older ones as an attribute; None if neither is there."""
        if self.has(node, index):
            return [int(i) for i in self.constant(node, index).reshape(-1)]
        found = node.attributes.get(attribute)
        return None if found is None else list(found)

    def tensor(self, name: str, channels: int, size: Pair, quantization: Quantization | None = None) -> View:
        """A new tensor, all of it: of codes, if it has a quantization."""
        self.tensors[name] = Tensor(name, channels, *size, "uint8" if quantization else "float32", quantization)
        return self.tensors[name].whole

    def keep(self, name: str, array: np.ndarray) -> str:
        """Keep a constant, and its name."""
        self.constants[name] = np.ascontiguousarray(array, np.float64 if array.dtype == np.float64 else np.float32)
        return name

    def keep_scale(self, node: Node, name: str, axis: int) -> str | None:
        """Keep the scale of the node's weights, one number an output channel, which lie along `axis`; its name, or None without one."""
        scale = self.scales.get(node.inputs[1])
        weight = self.constant(node, 1)
        if scale is None or scale.size not in (1, weight.shape[axis]) or (scale.size > 1 and scale.shape[axis] == 1):
            return None
        return self.keep(name, np.broadcast_to(scale.reshape(-1), weight.shape[axis]).astype(np.float32))

    def output(self, name: str, value: Value) -> Port:
        """An output of the network; what is an input too, is copied."""
        view = value.view
        if view.tensor in {operation.output.tensor for operation in self.operations}:
            return Port(name, view, value.shape)
        copied = f"{name}.copy"
        if copied not in self.tensors:
            self.operations.append(
                Copy(name=copied, output=self.tensor(copied, view.channels, value.size), pieces=(view,))
            )
        return Port(name, self.tensors[copied].whole, value.shape)

    def graph(self, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Graph:
        """What has been read."""
        return Graph(inputs, outputs, tuple(self.operations), self.tensors, self.constants)
