"""What mixed precision leaves in float32."""

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """Conv2d that autocast does not touch."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def keep_strided_depthwise(net: nn.Module, wanted: bool = True) -> None:
    """Leave depthwise convolutions of stride 2 and more in float32, in place, or give them back to autocast.

    oneDNN has no fast gradient of them in bfloat16: on the CPU they hold up the whole step. In float32 they are next to nothing anywhere.
    """
    for module in net.modules():
        if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, Float32Conv2d):
            continue  # a subclass with a way of its own
        if 1 < module.groups == module.in_channels and max(module.stride) > 1:
            module.__class__ = Float32Conv2d if wanted else nn.Conv2d
