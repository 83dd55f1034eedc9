"""Parameters and multiply-adds, counted the paper's way: convolutions and linear layers, nothing else."""

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from shufflenet.nets.network import Network
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.nets.size import Size, height_width
from shufflenet.nets.variants import create


@dataclass(frozen=True)
class LayerCost:
    """One layer that computes: its output shape without the batch, and its cost. `kernel`, `stride`, `groups` are 0 for linear ones."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    kernel: int
    stride: int
    groups: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class StageCost:
    """One row of a table like the paper's Table 1: `repeat` units of one stage with one stride, and what they cost together."""

    name: str
    output_shape: tuple[int, ...]
    stride: int
    repeat: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """What a network costs for one picture of `size` (height, width). `parameters` counts BN's and biases too.

    `stages` is empty for the networks that are not built of stages (AlexNet and its like).
    """

    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    layers: tuple[LayerCost, ...]
    stages: tuple[StageCost, ...]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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
        parameters=_parameters(module),
        multiply_adds=positions * module.weight.numel(),
    )


def _stages(
    net: nn.Module, shapes: dict[str, tuple[int, ...]], strides: dict[str, int], layers: list[LayerCost]
) -> list[StageCost]:
    rows: list[StageCost] = []
    for stage in (*getattr(net, "intermediates", ()), "classifier"):
        module = net.get_submodule(stage)
        units = [f"{stage}.{child}" for child, _ in module.named_children()] or [stage]
        for unit in units:
            own = [layer for layer in layers if f"{layer.name}.".startswith(f"{unit}.")]
            if not own and strides[unit] == 1:
                continue  # BN, ReLU, or the small stem's missing pool
            row = StageCost(
                name=stage,
                output_shape=shapes[unit],
                stride=strides[unit],
                repeat=1,
                parameters=_parameters(net.get_submodule(unit)),
                multiply_adds=sum(layer.multiply_adds for layer in own),
            )
            last = rows[-1] if rows else None
            if last and (last.name, last.output_shape, last.stride) == (row.name, row.output_shape, row.stride):
                rows[-1] = replace(
                    last,
                    repeat=last.repeat + 1,
                    parameters=last.parameters + row.parameters,
                    multiply_adds=last.multiply_adds + row.multiply_adds,
                )
            else:
                rows.append(row)
    return rows


def cost(net: Network, size: Size = (224, 224)) -> Cost:
    """Count what `net` needs for one picture of `size`: (height, width), or one number for a square.

    Nothing is computed (meta tensors), and `net` is left as it is. A quantized network counts as the float one of its architecture.
    Raises VariantError for what is no size.
    """
    size = height_width(size)
    if isinstance(net, QuantizedNetwork):
        with torch.device("meta"):
            net = create(**net.spec)
    layers: list[LayerCost] = []
    shapes: dict[str, tuple[int, ...]] = {}
    strides: dict[str, int] = {}

    def record(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])
        planes = inputs[0].dim() == output.dim() == 4
        strides[name] = round(inputs[0].shape[2] / output.shape[2]) if planes else 1
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(_layer(name, module, output))

    twin = copy.deepcopy(net).to("meta").eval()
    for name, module in twin.named_modules():
        module.register_forward_hook(partial(record, name))
    twin(torch.empty(1, net.spec["in_channels"], *size, device="meta"))
    return Cost(
        size=size,
        parameters=_parameters(net),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        layers=tuple(layers),
        stages=tuple(_stages(twin, shapes, strides, layers)) if hasattr(net, "intermediates") else (),
    )
