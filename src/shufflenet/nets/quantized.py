"""A network as integers: batch normalization folded into the convolutions, a quantizer behind every result.

`QuantizedModule` is any module that can be traced, `QuantizedNetwork` a classifier.

The graph is traced from the network's own modules, whose names the layers keep. Where quantizers stand is a rule, so a folder of
integers needs to say no more than its architecture and the element of its activations.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shufflenet.nets.codes import IntegerRun, joining
from shufflenet.nets.errors import VariantError
from shufflenet.nets.integers import ELEMENTS, IntegerLayer, JoiningQuantizer, LearningLayer, Quantizer
from shufflenet.nets.network import Network
from shufflenet.nets.references import ReferenceNet
from shufflenet.nets.shufflenet import channel_shuffle
from shufflenet.nets.variants import create

LEAVES = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
# What only moves, chooses or cuts off numbers leaves them where its input's quantizer has put them.
KEEPING_MODULES = (nn.MaxPool2d, nn.Identity, nn.Dropout, nn.Flatten)
KEEPING_FUNCTIONS = (channel_shuffle, torch.flatten, F.dropout, F.max_pool2d)
RECTIFIERS = (nn.ReLU, nn.ReLU6)


class _Tracer(fx.Tracer):
    """Layers stay whole, those of TensorFlow's padding too."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=(channel_shuffle,))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


def _root(net: Network) -> nn.Module:
    return net.net if isinstance(net, ReferenceNet) else net  # its own forward only looks at the picture's size


def _trace(root: nn.Module, name: str) -> fx.GraphModule:
    try:
        return fx.GraphModule(root, _Tracer().trace(root))
    except (TraceError, TypeError) as error:
        raise VariantError(f"{name} cannot be quantized: its forward depends on values ({error})") from error


def _normalized(traced: fx.GraphModule) -> dict[str, str]:
    """The convolutions that feed one batch normalization and nothing else, each with it, by name."""
    pairs = {}
    for node in traced.graph.nodes:
        before = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if before is not None and len(before.users) == 1 and node.op == before.op == "call_module":
            convolution, norm = (traced.get_submodule(str(n.target)) for n in (before, node))
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                pairs[str(before.target)] = str(node.target)
    return pairs


def _fold(traced: fx.GraphModule) -> None:
    norms = {norm: convolution for convolution, norm in _normalized(traced).items()}
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and node.target in norms:
            name = norms[node.target]
            layer = fuse_conv_bn_eval(traced.get_submodule(name), traced.get_submodule(node.target))  # pyright: ignore[reportArgumentType]
            traced.set_submodule(name, layer)
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


class _Placement:
    """Puts quantizers into a traced graph: behind every result, or behind its ReLU. Pieces of a concatenation share one with the whole."""

    def __init__(self, traced: fx.GraphModule, element: str) -> None:
        self.traced, self.element = traced, element
        self.quantizer_of: dict[fx.Node, str] = {}
        self.inputs: dict[str, str] = {}  # of each layer, the quantizer whose numbers it reads
        traced.add_module("quantizers", nn.Module())
        for node in list(traced.graph.nodes):
            self._place(node)
        traced.graph.lint()
        traced.delete_all_unused_submodules()
        traced.recompile()

    def _place(self, node: fx.Node) -> None:
        module = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if node.op in ("output", "get_attr"):
            return
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert first is not None
            self.inputs[str(node.target)] = self.quantizer_of[first]
        if node.target is torch.cat:
            self._share(node)
        elif first in self.quantizer_of and (_keeps(node, module) or _rectifies(node, module)):
            self.quantizer_of[node] = self.quantizer_of[first]
        elif not self._leaves_float(node):
            self._quantize(node, self._new(node.name))

    def _leaves_float(self, node: fx.Node) -> bool:
        """Whether it is the network's result, or a ReLU comes first."""
        (user,) = node.users if len(node.users) == 1 else (None,)
        if user is None:
            return False
        module = self.traced.get_submodule(str(user.target)) if user.op == "call_module" else None
        return user.op == "output" or _rectifies(user, module)

    def _new(self, name: str) -> str:
        self.traced.get_submodule("quantizers").add_module(name, Quantizer(self.element))
        return f"quantizers.{name}"

    def _quantize(self, node: fx.Node, quantizer: str) -> fx.Node:
        with self.traced.graph.inserting_after(node):
            quantized = self.traced.graph.call_module(quantizer, (node,))
        node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
        self.quantizer_of[quantized] = quantizer
        return quantized

    def _share(self, node: fx.Node) -> None:
        quantizer = self._new(node.name)
        for piece in node.all_input_nodes:
            if len(piece.users) == 1 and piece.op == "call_module" and piece.target == self.quantizer_of.get(piece):
                piece.target = quantizer
            else:
                with self.traced.graph.inserting_before(node):
                    node.replace_input_with(piece, self.traced.graph.call_module(quantizer, (piece,)))
        self._quantize(node, quantizer)


def _keeps(node: fx.Node, module: nn.Module | None) -> bool:
    if node.target is F.interpolate:
        return bool(node.kwargs.get("mode", "nearest") == "nearest")
    return isinstance(module, KEEPING_MODULES) or node.target in KEEPING_FUNCTIONS or node.target == "flatten"


def _rectifies(node: fx.Node, module: nn.Module | None) -> bool:
    return isinstance(module, RECTIFIERS) or node.target in (F.relu, torch.relu, "relu")


class QuantizedModule(nn.Module):
    """[n, in_channels, h, w] → what the module gives, every layer with integers: in `learning` form with float weights to be trained.

    The two forms compute almost the same. With integers, `forward` is exact in whole numbers, and gives the bytes of the compiled C
    (codes.py). Learning, it computes in real numbers, which have a gradient, and rounds where the integers round: sums are float32, where
    a tie may tip.

    `net` is the graph; `inputs` names the quantizer that each layer reads from. What the module gives is not rounded. `name` is for
    messages. Raises VariantError for an unknown element, and for a module whose forward cannot be traced.
    """

    def __init__(self, module: nn.Module, name: str, in_channels: int, activations: str, *, learning: bool) -> None:
        super().__init__()
        if activations not in ELEMENTS:
            raise VariantError(f"there is no element type {activations!r}; activations are {' or '.join(ELEMENTS)}")
        self.in_channels, self.activations, self.learning = in_channels, activations, learning
        self.net = _trace(copy.deepcopy(module).eval(), name)
        _fold(self.net)
        self.inputs = _Placement(self.net, activations).inputs
        wrapper: Any = LearningLayer if learning else IntegerLayer
        for layer in self.inputs:
            self.net.set_submodule(layer, wrapper(self.net.get_submodule(layer)))
        if learning:
            for quantizer in joining(self.net):
                self.net.set_submodule(quantizer, JoiningQuantizer(activations))

    def forward(self, x: Tensor) -> Any:
        if self.learning:
            return self.net(x)
        with torch.autocast(x.device.type, enabled=False):
            return IntegerRun(self.net).run(x.float())

    @property
    def in_real_numbers(self) -> nn.Module:
        """What an exported file says, of a network that holds integers: real numbers, each result rounded by its quantizer."""
        assert not self.learning
        return self.net

    @property
    def record(self) -> dict[str, str]:
        """What files say of it."""
        return {"activations": self.activations, "weights": "s8"}

    def layers(self) -> dict[str, LearningLayer | IntegerLayer]:
        """By name, in the order in which they run."""
        return {name: self.net.get_submodule(name) for name in self.inputs}  # pyright: ignore[reportReturnType]

    def quantizers(self) -> dict[str, Quantizer]:
        """By name, in the order in which they run."""
        return dict(self.net.get_submodule("quantizers").named_children())  # pyright: ignore[reportReturnType]

    def quantizer_before(self, layer: str) -> Quantizer:
        """The one whose numbers a layer reads."""
        return self.net.get_submodule(self.inputs[layer])  # pyright: ignore[reportReturnType]

    def integer_state(self) -> dict[str, Tensor]:
        """The tensors of its twin that does not learn."""
        learned = tuple(f"net.{name}." for name in self.inputs)
        state = {name: tensor.detach() for name, tensor in self.state_dict().items() if not name.startswith(learned)}
        for name, layer in self.layers().items():
            assert isinstance(layer, LearningLayer)
            state |= {f"net.{name}.{kind}": tensor for kind, tensor in layer.integers().items()}
        return state


class QuantizedNetwork(QuantizedModule, Network):
    """A classifier as integers: [n, in_channels, h, w] → logits [n, num_classes]. `spec` is that of the network it was made of."""

    def __init__(self, net: Network, activations: str = "u8", *, learning: bool = True) -> None:
        super().__init__(_root(net), net.spec["name"], net.spec["in_channels"], activations, learning=learning)
        self.spec, self.metadata = net.spec, net.metadata

    def integers(self) -> "QuantizedNetwork":
        """The same network with its integers instead of the float weights; itself if it holds them already."""
        if not self.learning:
            return self
        twin = empty(self.spec, self.activations)
        twin.load_state_dict(self.integer_state(), assign=True)
        twin.metadata = self.metadata
        return twin.eval()

    def dequantized(self) -> Network:
        """A float32 network of the same architecture with the integers' weights, its activations not rounded."""
        net = create(**self.spec)
        root = _root(net)
        norms = _normalized(_trace(root, self.spec["name"]))
        for name, layer in self.integers().layers().items():
            assert isinstance(layer, IntegerLayer)
            bare = root.get_submodule(name)
            assert isinstance(bare, nn.Conv2d | nn.Linear)
            bias = layer.bias * layer.bias_scale
            shape = (-1, *[1] * (layer.weight.ndim - 1))
            bare.weight.data = layer.weight * layer.weight_scale.reshape(shape)
            if name in norms:
                norm = root.get_submodule(norms[name])
                assert isinstance(norm, nn.BatchNorm2d)
                norm.weight.data = torch.ones_like(bias)
                norm.running_mean = torch.zeros_like(bias)
                norm.running_var = torch.full_like(bias, 1 - norm.eps)
                norm.bias.data = bias
            elif bare.bias is not None:
                bare.bias.data = bias
        net.metadata = self.metadata
        return net.eval()


def empty(spec: dict[str, Any], activations: str) -> QuantizedNetwork:
    """A network of integers whose tensors are to be assigned: without values, and without the time to make them."""
    with torch.device("meta"):
        return QuantizedNetwork(create(**spec), activations, learning=False)
