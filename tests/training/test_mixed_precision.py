"""What mixed precision leaves in float32."""

import torch
from torch import nn

from shufflenet.nets import ShuffleNet, ShuffleNetConfig, create
from shufflenet.training.mixed_precision import Float32Conv2d, keep_strided_depthwise


def strided_depthwise(net: nn.Module) -> list[nn.Conv2d]:
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return [
        layer for layer in layers if layer.groups > 1 and layer.groups == layer.in_channels and layer.stride == (2, 2)
    ]


def output_types(net: nn.Module) -> dict[str, torch.dtype]:
    types = {}
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _m, _i, output, name=name: types.update({name: output.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(2, 3, 32, 32)).float().sum().backward()
    return types


def test_three_layers_of_a_shufflenet_stay_in_float32():
    net = create("shufflenet_x0_25_g3", num_classes=3)
    keep_strided_depthwise(net)
    kept = [name for name, dtype in output_types(net).items() if dtype == torch.float32]
    assert kept == ["stage2.0.depthwise.0", "stage3.0.depthwise.0", "stage4.0.depthwise.0"]


def test_the_network_is_what_it_was_when_given_back():
    net = create("shufflenet_x0_25_g3", num_classes=3).eval()
    x, before = torch.randn(1, 3, 32, 32), {name: type(layer) for name, layer in net.named_modules()}
    expected = net(x)
    keep_strided_depthwise(net)
    assert {type(layer) for layer in strided_depthwise(net)} == {Float32Conv2d}
    assert torch.equal(net(x), expected)
    keep_strided_depthwise(net, wanted=False)
    assert {name: type(layer) for name, layer in net.named_modules()} == before


def test_tensorflows_padding_is_left_alone():
    net = ShuffleNet(ShuffleNetConfig(padding="same"), num_classes=3)
    before = [type(layer) for layer in strided_depthwise(net)]
    keep_strided_depthwise(net)
    assert [type(layer) for layer in strided_depthwise(net)] == before
    assert nn.Conv2d not in before
