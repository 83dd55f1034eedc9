"""Grouped 1×1 convolutions as batched matrix products, for devices that cut a grouped convolution into one call a group."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class GroupedProduct(torch.autograd.Function):
    """A 1×1 convolution in groups, of maps that are channels_last in memory: no map is copied on the way in or out.

    A product reads and writes the channels of its group in place, as the columns of [pixels, groups, channels of a group].
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, groups: int) -> Tensor:
        """[n, c, h, w] and [out, c / groups, 1, 1] → [n, out, h, w]."""
        n, _, h, w = x.shape
        inputs, weights = _pixels(x, groups), _matrices(weight, groups)
        outputs = inputs.new_empty(len(inputs), groups, weights.shape[1])
        torch.bmm(inputs.transpose(0, 1), weights.transpose(1, 2), out=outputs.transpose(0, 1))
        return _maps(outputs, n, h, w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, weight, groups = inputs
        ctx.save_for_backward(x, weight)
        ctx.groups = groups

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        n, _, h, w = x.shape
        inputs, weights, outgoing = _pixels(x, ctx.groups), _matrices(weight, ctx.groups), _pixels(gradient, ctx.groups)
        incoming = torch.empty_like(inputs)
        torch.bmm(outgoing.transpose(0, 1), weights, out=incoming.transpose(0, 1))
        of_weight = torch.bmm(outgoing.permute(1, 2, 0), inputs.transpose(0, 1))
        return _maps(incoming, n, h, w), of_weight.reshape(weight.shape), None


def _pixels(x: Tensor, groups: int) -> Tensor:
    """[n, c, h, w] → [n·h·w, groups, c / groups]: a view, where `x` is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(-1, groups, x.shape[1] // groups)


def _matrices(weight: Tensor, groups: int) -> Tensor:
    """[out, c / groups, 1, 1] → [groups, out / groups, c / groups], a view."""
    return weight.reshape(groups, -1, weight.shape[1])


def _maps(pixels: Tensor, n: int, h: int, w: int) -> Tensor:
    """[n·h·w, groups, channels] → [n, groups · channels, h, w], channels_last; a view."""
    return pixels.reshape(n, h, w, -1).permute(0, 3, 1, 2)


class GroupedProductConv2d(nn.Conv2d):
    """A grouped 1×1 convolution without bias, computed by GroupedProduct. It obeys autocast as Conv2d does."""

    def forward(self, input: Tensor) -> Tensor:
        weight, device = self.weight, input.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            input, weight = input.to(dtype), weight.to(dtype)
        product = GroupedProduct.apply(input, weight, self.groups)
        assert isinstance(product, Tensor)
        return product


def use_grouped_products(net: nn.Module, wanted: bool = True) -> None:
    """Compute the network's grouped 1×1 convolutions as matrix products, in place, or as convolutions again."""
    for module in net.modules():
        if type(module) not in (nn.Conv2d, GroupedProductConv2d):
            continue  # a subclass with a way of its own
        assert isinstance(module, nn.Conv2d)
        pointwise = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.bias is None
        if pointwise and 1 < module.groups < module.in_channels:
            module.__class__ = GroupedProductConv2d if wanted else nn.Conv2d
