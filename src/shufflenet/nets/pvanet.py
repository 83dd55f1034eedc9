"""PVANET (arXiv 1608.08021), with which section 4.3 compares in the text.

Widths and kernels are those of PVANET's own Table 1; the classifier is a global average pool and one linear layer, as in ShuffleNet.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import StemKind, convolution, initialize


@dataclass(frozen=True)
class PVANetConfig:
    """PVANET has one size; the widths are data all the same."""

    stem_channels: int = 16
    crelu_stages: tuple[tuple[int, int, int], ...] = ((3, 24, 64), (4, 48, 128))  # units, inner and output channels
    inception_stages: tuple[tuple[int, int, int, int, int, int], ...] = (
        (4, 64, 128, 24, 48, 256),  # units, 1×1, 3×3, first and later 5×5 channels, output channels
        (4, 64, 192, 32, 64, 384),
    )
    pool_channels: int = 128


class CReLU(nn.Module):
    """ReLU of x and of -x, each channel scaled and shifted: [n, c, h, w] → [n, 2c, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2 * channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(2 * channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat((x, -x), dim=1) * self.scale + self.shift)


class CReLUUnit(nn.Module):
    """1×1, 3×3 with CReLU, 1×1, beside a shortcut (PVANET's Figure 1 and section 2.1)."""

    def __init__(self, in_channels: int, inner_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.compress = convolution(in_channels, inner_channels, 1, stride=stride)
        self.spatial = convolution(inner_channels, inner_channels, 3)
        self.crelu = CReLU(inner_channels)
        same = stride == 1 and in_channels == out_channels
        self.expand = convolution(2 * inner_channels, out_channels, 1, gamma=0.0 if same else 1.0)
        self.shortcut = nn.Identity() if same else convolution(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.crelu(self.spatial(F.relu(self.compress(x))))
        return F.relu(self.shortcut(x) + self.expand(y))


def _activated(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*convolution(in_channels, out_channels, kernel, stride=stride), nn.ReLU(inplace=True))


class InceptionUnit(nn.Module):
    """1×1, 3×3 and doubled 3×3 side by side (and a pooled way at stride 2), joined by a 1×1 (PVANET's Figure 2)."""

    def __init__(
        self, in_channels: int, widths: tuple[int, int, int, int, int], pool_channels: int, stride: int
    ) -> None:
        super().__init__()
        narrow, medium, reduced, wide, out_channels = widths
        self.one = _activated(in_channels, narrow, 1, stride)
        self.three = nn.Sequential(_activated(in_channels, medium // 2, 1, stride), _activated(medium // 2, medium, 3))
        self.five = nn.Sequential(
            _activated(in_channels, reduced, 1, stride), _activated(reduced, wide, 3), _activated(wide, wide, 3)
        )
        joined = narrow + medium + wide
        self.pool = None
        if stride == 2:
            self.pool = nn.Sequential(nn.MaxPool2d(3, 2, padding=1), _activated(in_channels, pool_channels, 1))
            joined += pool_channels
        self.expand = convolution(joined, out_channels, 1)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else convolution(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        ways = [self.one(x), self.three(x), self.five(x)]
        if self.pool is not None:
            ways.append(self.pool(x))
        return F.relu(self.shortcut(x) + self.expand(torch.cat(ways, dim=1)))


class PVANet(Network):
    """[n, in_channels, h, w] → logits [n, num_classes]. `stem="small"`: 3×3 at stride 1, no max-pool."""

    def __init__(
        self, config: PVANetConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet"
    ) -> None:
        super().__init__()
        small = stem == "small"
        self.stem = nn.Sequential(
            *convolution(in_channels, config.stem_channels, 3 if small else 7, stride=1 if small else 2),
            CReLU(config.stem_channels),
            nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1),
        )
        units: list[nn.Module] = []
        previous_channels = 2 * config.stem_channels
        for stage, (repeats, inner_channels, out_channels) in enumerate(config.crelu_stages):
            for repeat in range(repeats):
                stride = 2 if stage > 0 and repeat == 0 else 1
                units.append(CReLUUnit(previous_channels, inner_channels, out_channels, stride))
                previous_channels = out_channels
        for repeats, *widths in config.inception_stages:
            narrow, medium, reduced, wide, out_channels = widths
            for repeat in range(repeats):
                stride = 2 if repeat == 0 else 1
                unit_widths = (narrow, medium, reduced, wide, out_channels)
                units.append(InceptionUnit(previous_channels, unit_widths, config.pool_channels, stride))
                previous_channels = out_channels
        self.units = nn.Sequential(*units)
        self.classifier = nn.Linear(previous_channels, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.units(self.stem(x)).mean((2, 3)))
