"""Quantized networks on threads: the codes of one thread, however tasks are dealt."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from shufflenet import nets
from shufflenet.compiler import CompiledNetwork
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.integer_steps import IntegerDepthwise, IntegerProduct, IntegerStep
from shufflenet.compiler.plan.machines import USUAL
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from ..native import load_native
from ..networks import random_network
from ..quantized import FORMS, pictures, quantized
from ..simplify.test_quantize import pictures as random_pictures

SIZE = (97, 131)
# Small steps are dealt, too.
FINE = replace(USUAL, task_ns=1e-6)


def test_quantized_networks_give_the_same_bits_on_any_number_of_threads(tmp_path):
    torch.manual_seed(0)
    model = to_onnx(Exportable(nets.create("shufflenet_x0_25_g3", num_classes=10).eval(), SIZE))
    planned = make_plan(simplify(read_onnx(quantized(model, pictures(model, 2), tmp_path))), FINE)
    for kind in (IntegerProduct, IntegerDepthwise):
        assert sum(isinstance(step, kind) and step.tasks is not None for step in planned.steps) >= 16
    alone = load_native(emit(planned, "net", title="A test", version="0"), tmp_path)
    batch = np.random.default_rng(0).standard_normal((2, 3, *SIZE)).astype(np.float32)
    expected = alone(batch)
    for threads in (2, 3, 7):
        network = CompiledNetwork(alone.library, alone.signature, threads)
        np.testing.assert_array_equal(network(batch), expected)
        for picture, right in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(network(picture), right)


# Networks of these seeds deal pools, means, sums, products of codes, tables and borders between them.
@pytest.mark.parametrize("seed", [0, 3, 4])
def test_random_quantized_networks_give_the_same_bits_on_threads(seed, tmp_path):
    model = random_network(random.Random(seed).choice, seed)
    form = list(FORMS)[seed % len(FORMS)]
    planned = make_plan(simplify(read_onnx(quantized(model, random_pictures(model, 2), tmp_path, form))), FINE)
    assert any(isinstance(step, IntegerStep) and step.tasks for step in planned.steps)
    alone = load_native(emit(planned, "net", title="A test", version="0"), tmp_path)
    for inputs in random_pictures(model, 2):
        expected = alone(*inputs.values())
        for threads in (2, 5):
            found = CompiledNetwork(alone.library, alone.signature, threads)(*inputs.values())
            for one, right in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, right)
