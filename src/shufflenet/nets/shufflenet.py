"""ShuffleNet, arXiv 1707.01083: the channel shuffle, the unit, and the network of Table 1.

Shapes in comments are [batch, channels, height, width]; c = channels, g = groups, m = bottleneck channels.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shufflenet.nets.errors import VariantError
from shufflenet.nets.network import Network
from shufflenet.nets.same_padding import use_same_padding

ShuffleOrder = Literal["paper", "inverse"]
StemKind = Literal["imagenet", "small"]


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of `groups` groups out in turn, so that the next grouped convolution sees all of them (section 3.1).

    [n, c, h, w] → [n, c, h, w]: output channel j·groups + i is input channel i·(c/groups) + j. `channel_shuffle(y, c // groups)`
    undoes it. Raises VariantError if `groups` does not divide c.
    """
    channels, height, width = x.shape[1:]
    if channels % groups:
        raise VariantError(f"{channels} channels cannot be shuffled in {groups} groups; choose a divisor of {channels}")
    # torch's exporter that traces lacks the operator, and users call it on these networks.
    if torch.onnx.is_in_onnx_export():
        x = x.reshape(-1, groups, channels // groups, height, width)
        return x.transpose(1, 2).reshape(-1, channels, height, width)
    # The same in one pass, whatever the memory format.
    return F.channel_shuffle(x, groups)


@dataclass(frozen=True)
class ShuffleNetConfig:
    """The numbers that make one ShuffleNet; the defaults are the paper's 1×, g = 3 (Table 1).

    The fields from `shuffle_order` on exist because published checkpoints of other implementations need them.
    Raises VariantError for widths that the groups do not divide.
    """

    groups: int = 3
    stage_channels: tuple[int, int, int] = (240, 480, 960)
    stem_channels: int = 24
    stage_repeats: tuple[int, int, int] = (4, 8, 4)
    shuffle: bool = True
    squeeze_reduction: int | None = None  # SE on the residual branch (Table 5); the paper's reference uses 16
    shuffle_order: ShuffleOrder = "paper"  # "inverse" reshapes to (c/g, g), as Megvii's code does
    shortcut_first: bool = True  # concatenate [average pool, branch] in stride-2 units; False: [branch, average pool]
    classifier_bias: bool = True
    padding: Literal["symmetric", "same"] = "symmetric"  # "same" is TensorFlow's (same_padding.py)

    def __post_init__(self) -> None:
        for channels in self.stage_channels:
            if channels % (4 * self.groups):
                raise VariantError(
                    f"{channels} stage channels have {channels / 4:g} bottleneck channels, which {self.groups} groups "
                    f"do not divide; choose a multiple of {4 * self.groups}"
                )
        branch_channels = self.stage_channels[0] - self.stem_channels
        if branch_channels <= 0 or branch_channels % self.groups:
            raise VariantError(
                f"{self.stem_channels} stem channels leave {branch_channels} for the first unit's branch, which "
                f"{self.groups} groups do not divide; choose a multiple of {self.groups} below {self.stage_channels[0]}"
            )
        if self.shuffle_order not in ("paper", "inverse"):
            raise VariantError(f"shuffle_order is {self.shuffle_order!r}; it is 'paper' or 'inverse'")
        if self.padding not in ("symmetric", "same"):
            raise VariantError(f"padding is {self.padding!r}; it is 'symmetric' or 'same'")


class SqueezeExcitation(nn.Module):
    """Rescale channels by what the whole picture shows (arXiv 1709.01507): the `_se` rows of Table 5."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        squeezed_channels = max(channels // reduction, 1)
        self.squeeze = nn.Conv2d(channels, squeezed_channels, 1)
        self.excite = nn.Conv2d(squeezed_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.excite(scale))


def convolution(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, gamma: float = 1.0
) -> nn.Sequential:
    """Convolution without bias, then batch normalization; padded so that stride 1 keeps the size.

    `gamma` is where the normalization's scale starts. At 0 a branch that is added to its input starts as the identity
    (arXiv 1706.02677, section 5.1).
    """
    normalization = nn.BatchNorm2d(out_channels)
    nn.init.constant_(normalization.weight, gamma)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        normalization,
    )


class Unit(nn.Module):
    """The ShuffleNet unit: Figure 2 (b) at stride 1, (c) at stride 2.

    At stride 2 the branch makes `out_channels - in_channels` channels, and the average-pooled input brings the rest.
    `first_groups` differs from `groups` in one place: the first unit of stage 2 does not group its few input channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, first_groups: int, config: ShuffleNetConfig
    ) -> None:
        super().__init__()
        self.stride = stride
        bottleneck_channels = out_channels // 4
        branch_channels = out_channels if stride == 1 else out_channels - in_channels
        self.compress = convolution(in_channels, bottleneck_channels, 1, groups=first_groups)
        self.depthwise = convolution(
            bottleneck_channels, bottleneck_channels, 3, stride=stride, groups=bottleneck_channels
        )
        self.expand = convolution(
            bottleneck_channels, branch_channels, 1, groups=config.groups, gamma=0.0 if stride == 1 else 1.0
        )
        self.squeeze_excitation = (
            SqueezeExcitation(branch_channels, config.squeeze_reduction) if config.squeeze_reduction else None
        )
        self.average_pool = nn.AvgPool2d(3, stride=2, padding=1)  # for the shortcut at stride 2
        self.shortcut_first = config.shortcut_first
        self.shuffle_groups = None
        if config.shuffle and config.groups > 1:
            inverse = config.shuffle_order == "inverse"
            self.shuffle_groups = bottleneck_channels // config.groups if inverse else config.groups

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.compress(x), inplace=True)  # [n, c, h, w] → [n, m, h, w]
        if self.shuffle_groups is not None:
            y = channel_shuffle(y, self.shuffle_groups)
        y = self.depthwise(y)  # no ReLU after it (section 3.2)
        y = self.expand(y)  # → [n, c, h, w], or the c' - c new channels at half the size
        if self.squeeze_excitation is not None:
            y = self.squeeze_excitation(y)
        if self.stride == 1:
            return F.relu(x + y, inplace=True)
        # Figure 2 (c) rectifies after the concatenation; of x, which is not negative, that would leave the average as it is.
        shortcut, y = self.average_pool(x), F.relu(y, inplace=True)
        return torch.cat((shortcut, y) if self.shortcut_first else (y, shortcut), dim=1)


class Staged(Network):
    """What a stem, three stages and a linear classifier compute, whatever they are made of.

    [n, in_channels, h, w] → logits [n, num_classes].
    """

    intermediates: ClassVar = ("stem", "stage2", "stage3", "stage4")
    classifier: nn.Linear
    feature_channels: dict[str, int]
    feature_strides: dict[str, int]

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The named intermediates, each [n, feature_channels[name], ⌈h / stride⌉, ⌈w / stride⌉]."""
        outputs = {}
        for name in self.intermediates:
            x = self.get_submodule(name)(x)
            outputs[name] = x
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        for name in self.intermediates:
            x = self.get_submodule(name)(x)
        return self.classifier(x.mean((2, 3)))


class Skeleton(Staged):
    """Table 1's frame, which ShuffleNet and its rivals of Table 4 share: stem, three stages of units, classifier.

    `stem="imagenet"` is the paper's (3×3 at stride 2, then max-pool: stride 4); `stem="small"` is 3×3 at stride 1, for pictures of
    28–64 pixels. [n, in_channels, h, w] → logits [n, num_classes].
    """

    def __init__(
        self,
        stages: list[nn.Sequential],
        *,
        stem_channels: int,
        stage_channels: tuple[int, int, int],
        num_classes: int,
        in_channels: int,
        stem: StemKind,
        classifier_bias: bool = True,
    ) -> None:
        super().__init__()
        small = stem == "small"
        self.stem = nn.Sequential(
            *convolution(in_channels, stem_channels, 3, stride=1 if small else 2),
            nn.ReLU(inplace=True),
            nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stage2, self.stage3, self.stage4 = stages
        self.classifier = nn.Linear(stage_channels[-1], num_classes, bias=classifier_bias)
        self.feature_channels: dict[str, int] = dict(
            zip(self.intermediates, (stem_channels, *stage_channels), strict=True)
        )
        self.feature_strides = {name: (1 if small else 4) * 2**i for i, name in enumerate(self.intermediates)}
        initialize(self)


class ShuffleNet(Skeleton):
    """The paper's network (Table 1). Any picture from 32×32 up will do, odd sizes too."""

    def __init__(
        self, config: ShuffleNetConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet"
    ) -> None:
        stages = []
        previous_channels = config.stem_channels
        for stage, (channels, repeats) in enumerate(zip(config.stage_channels, config.stage_repeats, strict=True)):
            first_groups = 1 if stage == 0 else config.groups
            first = Unit(previous_channels, channels, stride=2, first_groups=first_groups, config=config)
            rest = [
                Unit(channels, channels, stride=1, first_groups=config.groups, config=config)
                for _ in range(repeats - 1)
            ]
            stages.append(nn.Sequential(first, *rest))
            previous_channels = channels
        super().__init__(
            stages,
            stem_channels=config.stem_channels,
            stage_channels=config.stage_channels,
            num_classes=num_classes,
            in_channels=in_channels,
            stem=stem,
            classifier_bias=config.classifier_bias,
        )
        if config.padding == "same":
            use_same_padding(self)


def initialize(net: nn.Module) -> None:
    """He initialization of every convolution, by what enters it: grouped and depthwise layers then keep the variance too."""
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # no values to set, and torch would import its whole compiler on the way
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
