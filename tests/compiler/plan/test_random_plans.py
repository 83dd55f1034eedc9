"""The memory of random networks' plans: every step finds what the graph says."""

import random

import pytest

from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify

from ..memory import check_memory
from ..networks import random_network, random_networks


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_every_step_finds_what_the_graph_says(first):
    for seed in range(first, first + 40):
        graph = simplify(read_onnx(random_network(random.Random(seed).choice, seed)))
        check_memory(graph, make_plan(graph))


def test_every_step_finds_what_the_graph_says_among_many_networks():
    model, _ = random_networks(range(30))
    graph = simplify(read_onnx(model))
    check_memory(graph, make_plan(graph))
