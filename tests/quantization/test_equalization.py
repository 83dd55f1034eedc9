"""Channels are scaled until they fill their tensors' ranges, and the float32 network stays what it was."""

import numpy as np
import pytest
import torch

from shufflenet.deploy.parity import untrained
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.quantization.equalization import FIXED, channels_of, equalize
from shufflenet.quantization.float_run import FloatRun

SIZE = (40, 48)


def inputs(pictures):
    return torch.randn(pictures, 3, *SIZE, generator=torch.Generator().manual_seed(0))


# Shuffles, a gate, pools that are concatenated; sums of branches; concatenations alone; local response normalization; scales and shifts.
@pytest.mark.parametrize("name", ["shufflenet_x0_25_g3_se", "resnet_like_13m", "squeezenet", "alexnet", "pvanet"])
def test_the_float32_network_stays_what_it_was(name):
    size = (224, 224) if name == "alexnet" else SIZE
    net = QuantizedNetwork(untrained(name, size)).eval()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    before = {layer: module.layer.weight.clone() for layer, module in net.layers().items()}
    with torch.inference_mode():
        expected = FloatRun(net).run(x)
        equalize(net, [x])
        found = FloatRun(net).run(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert any(not torch.equal(before[layer], module.layer.weight) for layer, module in net.layers().items())


def spread(net, name, x):
    """How large the smallest channel of a quantizer's tensor is, beside the largest, in 99% of the pictures."""
    seen = []
    FloatRun(net, quantizer=lambda key, y: seen.append(y.abs().amax((2, 3)).numpy()) if key == name else None).run(x)
    sizes = np.quantile(seen[0], 0.99, axis=0)
    return float(sizes.min() / sizes.max())


@torch.no_grad()
def test_channels_fill_their_range():
    net = QuantizedNetwork(untrained("shufflenet_x0_25_g3", SIZE)).eval()
    name = net.inputs["stage3.1.expand.0"].removeprefix("quantizers.")
    x = inputs(4)
    assert spread(net, name, x) < 0.7
    equalize(net, [x[:2], x[2:]])
    assert spread(net, name, x) == pytest.approx(1, abs=1e-4)  # nothing but one layer reads this tensor


def test_what_a_sum_ties_together_is_one_group():
    net = QuantizedNetwork(untrained("shufflenet_x0_25_g3", SIZE))
    layers = channels_of(net).layers
    trunk = layers["stage2.1.expand.0"][1]
    assert torch.equal(layers["stage2.2.expand.0"][1], trunk)
    assert torch.equal(layers["stage2.2.compress.0"][0], trunk)
    assert len(trunk.unique()) == len(trunk)
    entering = layers["stage2.1.depthwise.0"][0]
    assert torch.equal(entering.sort()[0], layers["stage2.1.compress.0"][1].sort()[0])
    assert not torch.equal(entering, layers["stage2.1.compress.0"][1])  # shuffled between the two
    assert set(layers["classifier"][1].tolist()) == {FIXED}
    assert set(layers["stem.0"][0].tolist()) == {FIXED}


def test_a_gate_keeps_its_scale():
    layers = channels_of(QuantizedNetwork(untrained("shufflenet_x0_25_g3_se", SIZE))).layers
    assert set(layers["stage2.1.squeeze_excitation.excite"][1].tolist()) == {FIXED}
    assert torch.equal(layers["stage2.1.squeeze_excitation.squeeze"][0], layers["stage2.1.expand.0"][1])
