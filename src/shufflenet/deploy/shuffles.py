"""The channel shuffles in a captured graph, in the form that LiteRT wants."""

import torch
from torch import nn
from torch.export import ExportedProgram

aten = torch.ops.aten


def channels_last_shuffles(program: ExportedProgram) -> nn.Module:
    """A captured network with its shuffles on [n, h·w, groups, channels], as LiteRT lays pictures out.

    Left as they are, they become transposes of rank 5, between two more that change the layout there and back.
    """
    graph = program.graph
    for shuffle in graph.find_nodes(op="call_function", target=aten.channel_shuffle.default):
        source_node, groups = shuffle.args
        n, channels, height, width = shuffle.meta["val"].shape
        with graph.inserting_before(shuffle):
            x = graph.call_function(aten.permute.default, (source_node, [0, 2, 3, 1]))
            x = graph.call_function(aten.reshape.default, (x, [n, height * width, groups, channels // groups]))
            x = graph.call_function(aten.transpose.int, (x, 2, 3))
            x = graph.call_function(aten.reshape.default, (x, [n, height, width, channels]))
            x = graph.call_function(aten.permute.default, (x, [0, 3, 1, 2]))
        shuffle.replace_all_uses_with(x)
        graph.erase_node(shuffle)
    program.graph_module.recompile()
    return program.module()
