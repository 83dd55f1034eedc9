"""Graph → Graph: less to do, and nothing that only moves numbers. The passes in order, each with its name."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from shufflenet.compiler.graph.ir import Graph
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.simplify.fold import (
    fold_padding,
    fold_scale_back,
    fold_scale_forward,
    name_global_pool,
    scale_before_copy,
)
from shufflenet.compiler.simplify.fuse import (
    activation_before_copy,
    drop_activation,
    fuse_activation,
    fuse_addition,
    name_hard_swish,
)
from shufflenet.compiler.simplify.order import sort_channels
from shufflenet.compiler.simplify.quantize import (
    add_to_convolution,
    compute_on_codes,
    forget_scales,
    keep_codes,
    limit_codes,
    multiply_codes,
    quantize_before_copy,
    requantize,
    round_once,
)
from shufflenet.compiler.simplify.rewrite import Rule, remove_unused, rewrite
from shufflenet.compiler.simplify.views import share_buffers


def simplify(graph: Graph) -> Graph:
    """The graph after the last pass."""
    *_, (_, simplified) = stages(graph)
    return simplified


def stages(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """The graph as read, and after each pass, each with the pass's name and held to the rules."""
    yield "read", verify(graph)
    for name, change in PASSES.items():
        graph = verify(change(graph))
        yield name, graph


def _round(graph: Graph) -> Graph:
    """Scales and shifts that found nothing to fold into become float32."""
    rounded = {name: array.astype(np.float32) for name, array in graph.constants.items() if array.dtype == np.float64}
    return replace(graph, constants={**graph.constants, **rounded})


def _by(*rules: Rule) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        for rule in rules:
            graph = rewrite(graph, rule)
        return graph

    return change


PASSES: dict[str, Callable[[Graph], Graph]] = {
    "remove_unused": remove_unused,
    "fold_padding": _by(fold_padding),
    "name_operations": _by(name_global_pool, name_hard_swish),
    "fold_scales": _by(fold_scale_back, scale_before_copy, fold_scale_back, fold_scale_forward),
    "fuse_activations": _by(drop_activation, activation_before_copy, fuse_activation, drop_activation),
    "quantize": _by(quantize_before_copy, keep_codes, compute_on_codes, requantize, multiply_codes, round_once),
    "limit_codes": _by(limit_codes, fuse_activation, add_to_convolution),
    "forget_scales": lambda graph: remove_unused(forget_scales(graph)),
    "fuse_additions": _by(fuse_addition),
    "round_constants": _round,
    "share_buffers": share_buffers,
    "sort_channels": sort_channels,
}
