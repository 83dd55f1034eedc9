"""TensorFlow's "SAME" padding at stride 2, for checkpoints that were trained with it (`ShuffleNetConfig.padding`).

A 3×3 window at stride 2 needs two rows of padding at an odd height and one at an even height. torch's padding=1 starts with the
first and may leave the last unused; "SAME" pads the end first, so at even sizes every window sits one pixel further on. An
average leaves the padding out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def same_padded(x: Tensor) -> Tensor:
    """[n, c, h, w], zeros around it as 3×3 windows at stride 2 need them without padding of their own."""
    height, width = x.shape[2:]
    return F.pad(x, (width % 2, 1, height % 2, 1))


class SameConv2d(nn.Conv2d):
    """A 3×3 convolution at stride 2."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(same_padded(input), weight, bias, self.stride, groups=self.groups)


class SameMaxPool2d(nn.MaxPool2d):
    """Largest of 3×3 at stride 2; zeros are no larger than what comes out of a ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(same_padded(input), 3, stride=2)


class SameAvgPool2d(nn.AvgPool2d):
    """Mean of 3×3 at stride 2, of those pixels that are there."""

    def forward(self, input: Tensor) -> Tensor:
        there = F.avg_pool2d(same_padded(torch.ones_like(input[:1, :1])), 3, stride=2)
        return F.avg_pool2d(same_padded(input), 3, stride=2) / there


def use_same_padding(net: nn.Module) -> None:
    """Replace every layer of `net` that has stride 2; names of weights stay."""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            same = SameConv2d(layer.in_channels, layer.out_channels, 3, 2, groups=layer.groups, bias=False)
            net.set_submodule(name, same)
        elif isinstance(layer, nn.MaxPool2d):
            net.set_submodule(name, SameMaxPool2d(3, 2))
        elif isinstance(layer, nn.AvgPool2d):
            net.set_submodule(name, SameAvgPool2d(3, 2))
