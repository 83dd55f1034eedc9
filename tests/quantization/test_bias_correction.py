"""After the correction, each channel of each layer has the float32 network's mean."""

import pytest
import torch
import torch.nn.functional as F

import shufflenet
from shufflenet.data import open_dataset
from shufflenet.quantization import Method, calibrated
from shufflenet.quantization.bias_correction import correct_biases
from shufflenet.quantization.float_run import FloatRun
from shufflenet.quantization.post_training import CalibrationInputs

PICTURES = 64


@pytest.fixture(scope="module")
def net():
    return shufflenet.load("fashion-mnist/shufflenet_x0_25_g8")


@pytest.fixture(scope="module")
def pictures():
    return open_dataset("fashion-mnist-7k", "train")


def means(net, x, *, rounded: bool) -> dict[str, torch.Tensor]:
    found = {}
    if not rounded:
        FloatRun(net, layer=lambda name, y: found.update({name: channel_means(net.layers()[name].layer(y))})).run(x)
        return found
    hooks = [
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: channel_means(output)})
        )
        for name, layer in net.layers().items()
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return found


def channel_means(y):
    return y.transpose(0, 1).flatten(1).mean(1)


@torch.no_grad()
def test_channels_keep_their_means(net, pictures):
    # Ranges that cut off next to nothing: the means move by rounding alone.
    method = Method(pictures=PICTURES, calibration="percentile", bias_correction=False)
    rounded = calibrated(net, pictures, method)
    x = next(iter(CalibrationInputs(pictures, net, PICTURES)))
    wanted = means(rounded, x, rounded=False)
    before = means(rounded, x, rounded=True)
    correct_biases(rounded, [x[:3], x[3:], torch.full_like(x, 1e3)], PICTURES)
    after = means(rounded, x, rounded=True)
    shifted, left = (
        {name: float((found[name] - wanted[name]).abs().mean()) for name in wanted} for found in (before, after)
    )
    # What is left are ties that the corrected biases tip.
    assert all(left[name] <= 0.5 * shifted[name] for name in wanted)


@torch.no_grad()
def test_the_answers_come_nearer_to_float32_s(net, pictures):
    """On pictures that neither calibrated nor corrected."""
    x = torch.cat(list(CalibrationInputs(pictures, net, 256, seed=9)))
    wanted = net(x).log_softmax(1)
    apart = []
    for corrected in (False, True):
        found = calibrated(net, pictures, Method(pictures=128, bias_correction=corrected))(x).log_softmax(1)
        apart.append(float(F.kl_div(found, wanted, log_target=True, reduction="batchmean")))
    assert apart[1] < 0.9 * apart[0]
