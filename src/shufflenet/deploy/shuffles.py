"""The channel shuffles in a captured graph, and their other forms that runtimes want."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn

from shufflenet.deploy.source import Source

aten = torch.ops.aten


@dataclass(frozen=True)
class Shuffle:
    """Reshape to [n, groups, channels, h, w], Transpose(1, 2), Reshape back: what `nets.channel_shuffle` is captured as."""

    split: fx.Node
    swap: fx.Node
    merge: fx.Node

    @property
    def input(self) -> fx.Node:
        source = self.split.args[0]
        assert isinstance(source, fx.Node)
        return source

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, groups, channels of a group, height, width]."""
        return tuple(self.split.meta["val"].shape)


def find_shuffles(graph: fx.Graph) -> Iterator[Shuffle]:
    for swap in graph.find_nodes(op="call_function", target=aten.transpose.int):
        split, (merge, *others) = swap.args[0], swap.users
        reshapes = split.target is merge.target is aten.reshape.default
        if reshapes and split.meta["val"].dim() == 5 and swap.args[1:] == (1, 2) and not others:
            yield Shuffle(split, swap, merge)


def channels_last_shuffles(source: Source) -> nn.Module:
    """The network with its shuffles on [n, h·w, groups, channels], as LiteRT lays pictures out.

    Left as they are, they become transposes of rank 5, between two more that change the layout there and back.
    """
    program = source.capture()
    graph = program.graph
    for shuffle in list(find_shuffles(graph)):
        n, groups, channels, height, width = shuffle.shape
        with graph.inserting_before(shuffle.merge):
            x = graph.call_function(aten.permute.default, (shuffle.input, [0, 2, 3, 1]))
            x = graph.call_function(aten.reshape.default, (x, [n, height * width, groups, channels]))
            x = graph.call_function(aten.transpose.int, (x, 2, 3))
            x = graph.call_function(aten.reshape.default, (x, [n, height, width, groups * channels]))
            x = graph.call_function(aten.permute.default, (x, [0, 3, 1, 2]))
        shuffle.merge.replace_all_uses_with(x)
        for node in (shuffle.merge, shuffle.swap, shuffle.split):
            graph.erase_node(node)
    program.graph_module.recompile()
    return program.module()
