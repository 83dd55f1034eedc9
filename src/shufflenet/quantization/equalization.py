"""Cross-layer equalization (arXiv 1906.04721) of a whole network: each channel is scaled until it fills its tensor's range.

A tensor of activations has one scale, so a channel with a tenth of the tensor's range has a tenth of its codes. But a channel can be
scaled by any positive number where a layer makes it, and back where the next layer reads it: rows of one layer's weights, columns of
the other's. ReLUs, pools, shuffles, sums and concatenations stand between them and let such a scale through. In float32 the
network computes what it did before.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shufflenet.nets.integers import LearningLayer, Quantizer
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.nets.shufflenet import channel_shuffle
from shufflenet.quantization.calibration import PICTURES_WITHIN
from shufflenet.quantization.float_run import FloatRun

FIXED = 0  # the group of channels that keep their scale: those of the input and the logits, and what a sigmoid reads
LARGEST_SCALE = 256.0  # a channel below one code is silent

# What gives each channel times a positive number, if its input has that channel times the number.
HOMOGENEOUS_MODULES = (
    Quantizer,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Identity,
    nn.Dropout,
    nn.Flatten,
)
HOMOGENEOUS = {
    *("relu", "mean", "flatten"),
    *(F.relu, torch.relu, F.dropout, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, torch.flatten, torch.mean),
    F.interpolate,
}
SUMS = {operator.add, operator.iadd, torch.add}


class Groups:
    """Channels that must be scaled alike: disjoint sets of numbers, each known by its least. Group 0 is `FIXED`."""

    def __init__(self) -> None:
        self._parents = [FIXED]

    def __len__(self) -> int:
        return len(self._parents)

    def new(self, count: int) -> Tensor:
        """So many channels, each a group of its own."""
        first = len(self)
        self._parents += range(first, first + count)
        return torch.arange(first, first + count)

    def unite(self, left: Tensor, right: Tensor) -> None:
        for pair in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted(map(self._find, pair))
            self._parents[high] = low

    def fix(self, channels: Tensor) -> None:
        self.unite(channels, torch.full_like(channels, FIXED))

    def of(self, channels: Tensor) -> Tensor:
        """The group of each."""
        return torch.tensor([self._find(channel) for channel in channels.tolist()])

    def _find(self, channel: int) -> int:
        while self._parents[channel] != channel:
            channel = self._parents[channel]
        return channel


@dataclass(frozen=True)
class Channels:
    """The groups of each quantizer's channels, once for every time that it runs; and of those that enter and leave each layer."""

    count: int
    quantizers: dict[str, list[Tensor]]
    layers: dict[str, tuple[Tensor, Tensor]]


def channels_of(net: QuantizedModule) -> Channels:
    """Which channels of a network in learning form are tied to which."""
    groups = Groups()
    quantizers: dict[str, list[Tensor]] = {name: [] for name in net.quantizers()}
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    channels: dict[fx.Node, Tensor] = {}
    for node in net.net.graph.nodes:
        module = net.net.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node.op == "get_attr":  # a number of its own for each channel, which no scale is folded into
            parameter = operator.attrgetter(str(node.target))(net.net)
            channels[node] = torch.full((parameter.numel(),), FIXED)
            continue
        sources = [channels[source] for source in node.all_input_nodes]
        if not sources:
            channels[node] = torch.full((net.in_channels,), FIXED)
            continue
        first = channels[node] = sources[0]
        if isinstance(module, LearningLayer):
            weight = module.layer.weight
            count = weight.shape[1] * _groups(module.layer)
            entering = first.repeat_interleave(count // len(first))  # of a flattened map, each channel's pixels
            channels[node] = groups.new(len(weight))
            layers[str(node.target)] = entering, channels[node]
        elif isinstance(module, Quantizer):
            quantizers[str(node.target).removeprefix("quantizers.")].append(first)
        elif node.target is channel_shuffle:
            channels[node] = channel_shuffle(first.reshape(1, -1, 1, 1), *node.args[1:]).flatten()
        elif node.target is torch.cat:
            channels[node] = torch.cat(sources)
        elif node.target in SUMS and len(sources) == 2:
            groups.unite(*sources)
        elif node.target is operator.mul and len(sources) == 2:
            groups.fix(sources[1])  # the gates of squeeze-and-excitation
        elif not isinstance(module, HOMOGENEOUS_MODULES) and node.target not in HOMOGENEOUS:
            for source in sources:
                groups.fix(source)
    return Channels(
        len(groups),
        {name: [groups.of(members) for members in places] for name, places in quantizers.items()},
        {name: (groups.of(entering), groups.of(leaving)) for name, (entering, leaving) in layers.items()},
    )


@torch.no_grad()
def equalize(net: QuantizedModule, batches: Iterable[Tensor]) -> None:
    """Scale the weights of a network in learning form so that channels fill their tensors' ranges, as far as pictures show these.

    A group of channels stands in several tensors; it is scaled until it fills the range of one of them.
    """
    channels = channels_of(net)
    largest = _largest(net, batches)
    share = torch.zeros(channels.count)
    for name, places in channels.quantizers.items():
        top = max(float(seen.max()) for seen in largest[name])
        for groups, seen in zip(places, largest[name], strict=True):
            share.scatter_reduce_(0, groups, seen / top if top > 0 else seen, "amax")
    scale = torch.where(share > 0, 1 / share, 1.0).clamp(1.0, LARGEST_SCALE)
    scale[FIXED] = 1.0
    for name, (entering, leaving) in channels.layers.items():
        learning = net.layers()[name]
        assert isinstance(learning, LearningLayer)
        layer, groups = learning.layer, _groups(learning.layer)
        assert layer.bias is not None
        weight = layer.weight.data.reshape(groups, -1, layer.weight.shape[1], layer.weight[0, 0].numel())
        weight = weight * scale[leaving].reshape(groups, -1, 1, 1) / scale[entering].reshape(groups, 1, -1, 1)
        layer.weight.data = weight.reshape(layer.weight.shape)
        layer.bias.data = layer.bias.data * scale[leaving]


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def _largest(net: QuantizedModule, batches: Iterable[Tensor]) -> dict[str, list[Tensor]]:
    """How large each channel becomes in nearly every picture, where each quantizer runs.

    A network gives an odd picture now and then that is ten times larger than the rest in most channels. Their largest numbers would
    all be that picture's.
    """
    largest: dict[str, list[list[Tensor]]] = {}
    for batch in batches:
        seen: dict[str, list[Tensor]] = {name: [] for name in net.quantizers()}
        FloatRun(net, quantizer=lambda name, x, seen=seen: seen[name].append(_size_of_channels(x))).run(batch)
        for name, places in seen.items():
            before = largest.setdefault(name, [[] for _ in places])
            for pictures, found in zip(before, places, strict=True):
                pictures.append(found)
    return {
        name: [torch.cat(pictures).quantile(PICTURES_WITHIN, dim=0) for pictures in places]
        for name, places in largest.items()
    }


def _size_of_channels(x: Tensor) -> Tensor:
    """[pictures, channels, …] → [pictures, channels]."""
    return x.abs().reshape(*x.shape[:2], -1).amax(2)
