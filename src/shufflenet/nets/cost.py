"""Parameters and multiply-adds, counted the paper's way: convolutions and linear layers; nothing for BN, ReLU, pools, shuffles, additions."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerCost:
    """One layer that computes: output shape without the batch, and its share of the cost. `kernel`, `stride`, `groups` are 0 for linear layers."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    kernel: int
    stride: int
    groups: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """What a network costs for one picture of `size` (height, width). `parameters` counts BN's and biases too."""

    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    layers: tuple[LayerCost, ...]


def _input_channels(net: nn.Module) -> int:
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    return first.in_channels


def _layer(name: str, module: nn.Conv2d | nn.Linear, output: Tensor) -> LayerCost:
    convolution = isinstance(module, nn.Conv2d)
    positions = output[0].numel() // module.weight.shape[0]
    return LayerCost(
        name=name,
        kind="convolution" if convolution else "linear",
        output_shape=tuple(output.shape[1:]),
        kernel=module.kernel_size[0] if convolution else 0,
        stride=module.stride[0] if convolution else 0,
        groups=module.groups if convolution else 0,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        multiply_adds=positions * module.weight.numel(),
    )


def cost(net: nn.Module, size: tuple[int, int] = (224, 224)) -> Cost:
    """Count what `net` needs for one picture of `size`. Nothing is computed (meta tensors), and `net` is left as it is."""
    twin = copy.deepcopy(net).to("meta").eval()
    layers: list[LayerCost] = []
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda module, _, output, name=name: layers.append(_layer(name, module, output))
            )
    twin(torch.empty(1, _input_channels(net), *size, device="meta"))
    return Cost(
        size=size,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        layers=tuple(layers),
    )
