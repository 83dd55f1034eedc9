"""Grouped 1×1 convolutions as matrix products, against torch's convolutions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck

from shufflenet.nets import create
from shufflenet.training.grouped_products import GroupedProduct, GroupedProductConv2d, use_grouped_products


@given(
    groups=st.integers(1, 4),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    size=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    memory_format=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
def test_it_is_the_convolution(groups, inputs, outputs, size, memory_format):
    n, h, w = size
    x = torch.randn(n, groups * inputs, h, w, dtype=torch.float64).contiguous(memory_format=memory_format)
    weight = torch.randn(groups * outputs, inputs, 1, 1, dtype=torch.float64)
    x.requires_grad_()
    weight.requires_grad_()
    expected = F.conv2d(x, weight, groups=groups)
    found = GroupedProduct.apply(x, weight, groups)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(expected)
    of_expected = torch.autograd.grad(expected, (x, weight), gradient)
    for one, other in zip(torch.autograd.grad(found, (x, weight), gradient), of_expected, strict=True):
        torch.testing.assert_close(one, other)


def test_its_gradient_is_the_functions_own():
    x = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, weight: GroupedProduct.apply(x, weight, 3), (x, weight))


@pytest.mark.parametrize("variant", ["shufflenet_x0_25_g3", "resnext_like_13m"])
def test_a_network_learns_the_same_by_either(variant):
    torch.manual_seed(0)
    net = create(variant, num_classes=3, stem="small").to(memory_format=torch.channels_last)
    x, gradients = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last), []
    for wanted in (False, True):
        use_grouped_products(net, wanted)
        net.zero_grad()
        net(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters()])
    largest = max(gradient.abs().max() for gradient in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * float(largest))


def test_autocast_holds_for_it_as_for_a_convolution():
    layer = GroupedProductConv2d(4, 6, 1, groups=2, bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 3, 3)).dtype == torch.bfloat16
    assert layer(torch.randn(1, 4, 3, 3)).dtype == torch.float32


def test_only_grouped_pointwise_layers_change_and_change_back():
    net = create("shufflenet_x0_25_g3", num_classes=3)
    before = {name: type(layer) for name, layer in net.named_modules()}
    use_grouped_products(net)
    changed = [layer for layer in net.modules() if isinstance(layer, GroupedProductConv2d)]
    # Two in each of the 16 units, but for the first, whose input has few channels.
    assert len(changed) == 31
    assert all(layer.groups == 3 and layer.kernel_size == (1, 1) for layer in changed)
    use_grouped_products(net, wanted=False)
    assert {name: type(layer) for name, layer in net.named_modules()} == before
    assert nn.Conv2d in before.values()
