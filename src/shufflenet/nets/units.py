"""The units that Table 4 puts in ShuffleNet's place, on the same skeleton and at the same complexity.

The paper prints the stage-4 channels at 38M and no other width; stages 2 and 3 have a quarter and a half of them here, as in Table 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from shufflenet.nets.shufflenet import Skeleton, StemKind, convolution


class VGGUnit(nn.Module):
    """Two 3×3 convolutions, as VGG stacks them, with batch normalization."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, 3, stride=stride)
        self.second = convolution(out_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))))


class BottleneckUnit(nn.Module):
    """1×1, 3×3, 1×1 beside a shortcut, which is a 1×1 projection where the shape changes: ResNet's unit, and ResNeXt's with groups."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        bottleneck_channels: int,
        groups: int,
        stride_first: bool,
    ) -> None:
        super().__init__()
        first_stride, second_stride = (stride, 1) if stride_first else (1, stride)
        self.compress = convolution(in_channels, bottleneck_channels, 1, stride=first_stride)
        self.spatial = convolution(bottleneck_channels, bottleneck_channels, 3, stride=second_stride, groups=groups)
        same = stride == 1 and in_channels == out_channels
        self.expand = convolution(bottleneck_channels, out_channels, 1, gamma=0.0 if same else 1.0)
        self.shortcut = nn.Identity() if same else convolution(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.compress(x))
        y = F.relu(self.spatial(y))
        return F.relu(self.shortcut(x) + self.expand(y))


def resnet_unit(in_channels: int, out_channels: int, stride: int) -> BottleneckUnit:
    """Bottleneck of a quarter of the width, stride on the 3×3 (fb.resnet.torch's ResNet)."""
    return BottleneckUnit(
        in_channels, out_channels, stride, bottleneck_channels=out_channels // 4, groups=1, stride_first=False
    )


def resnext_unit(in_channels: int, out_channels: int, stride: int) -> BottleneckUnit:
    """Bottleneck of half the width in 16 groups (the paper found 16 best), stride on the first 1×1.

    The paper does not say what it did where 16 does not divide the bottleneck; here the cardinality is its largest divisor up to 16.
    """
    bottleneck_channels = out_channels // 2
    return BottleneckUnit(
        in_channels,
        out_channels,
        stride,
        bottleneck_channels=bottleneck_channels,
        groups=max(groups for groups in range(1, 17) if bottleneck_channels % groups == 0),
        stride_first=True,
    )


UNITS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "vgg": VGGUnit,
    "resnet": resnet_unit,
    "resnext": resnext_unit,
}


@dataclass(frozen=True)
class RivalConfig:
    """One network of Table 4: which unit, and the widths that give it the complexity of its row."""

    unit: str
    stage_channels: tuple[int, int, int]
    stem_channels: int = 24
    stage_repeats: tuple[int, int, int] = (4, 8, 4)


class RivalNet(Skeleton):
    """ShuffleNet's skeleton with another unit (Table 4). Shapes as in Skeleton."""

    def __init__(
        self, config: RivalConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet"
    ) -> None:
        unit = UNITS[config.unit]
        stages = []
        previous_channels = config.stem_channels
        for channels, repeats in zip(config.stage_channels, config.stage_repeats, strict=True):
            rest = [unit(channels, channels, 1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(unit(previous_channels, channels, 2), *rest))
            previous_channels = channels
        super().__init__(
            stages,
            stem_channels=config.stem_channels,
            stage_channels=config.stage_channels,
            num_classes=num_classes,
            in_channels=in_channels,
            stem=stem,
        )
