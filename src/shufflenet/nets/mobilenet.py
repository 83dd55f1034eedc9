"""MobileNet v1 (arXiv 1704.04861), the paper's main rival (Tables 5, 7 and 8)."""

from dataclasses import dataclass

from torch import nn

from shufflenet.nets.shufflenet import Staged, StemKind, convolution, initialize

# Output channels and stride of each depthwise separable block at 1.0×: arXiv 1704.04861, Table 1.
BLOCKS = (
    ((64, 1), (128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)


@dataclass(frozen=True)
class MobileNetConfig:
    """`scale` is MobileNet's width multiplier."""

    scale: float = 1.0


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Depthwise 3×3 and pointwise 1×1, each with batch normalization and ReLU."""
    return nn.Sequential(
        *convolution(in_channels, in_channels, 3, stride=stride, groups=in_channels),
        nn.ReLU(inplace=True),
        *convolution(in_channels, out_channels, 1),
        nn.ReLU(inplace=True),
    )


class MobileNet(Staged):
    """[n, in_channels, h, w] → logits [n, num_classes]. Its features are the maps before each change of resolution.

    `stem="small"` starts at stride 1 and leaves out the first stride-2 block's stride, so the last map has stride 8, as in a
    ShuffleNet with the small stem.
    """

    def __init__(
        self, config: MobileNetConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet"
    ) -> None:
        super().__init__()
        small = stem == "small"
        previous_channels = int(32 * config.scale)
        layers: list[nn.Module] = [
            *convolution(in_channels, previous_channels, 3, stride=1 if small else 2),
            nn.ReLU(inplace=True),
        ]
        stages = []
        for number, blocks in enumerate(BLOCKS):
            for width, stride in blocks:
                channels = int(width * config.scale)
                layers.append(separable(previous_channels, channels, 1 if small and number == 0 else stride))
                previous_channels = channels
            stages.append(nn.Sequential(*layers))
            layers = []
        self.stem, self.stage2, self.stage3, self.stage4 = stages
        self.classifier = nn.Linear(previous_channels, num_classes)
        self.feature_channels: dict[str, int] = {
            name: int(blocks[-1][0] * config.scale) for name, blocks in zip(self.intermediates, BLOCKS, strict=True)
        }
        self.feature_strides = {name: (1 if small else 4) * 2**i for i, name in enumerate(self.intermediates)}
        initialize(self)
