"""AlexNet, VGG-16, GoogLeNet and SqueezeNet (Tables 6 and 8): torchvision's definitions, with any number of input channels."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision import models

from shufflenet.nets.errors import VariantError
from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import Stem


@dataclass(frozen=True)
class ReferenceConfig:
    """One of torchvision's networks. `first` and `first_pool` name the layers that a small stem replaces and leaves out."""

    build: Callable[..., nn.Module]
    first: str
    first_pool: str
    minimum_size: int = 32  # of an input with the imagenet stem


def _alexnet(num_classes: int) -> nn.Module:
    return models.alexnet(weights=None, num_classes=num_classes)


def _vgg16(num_classes: int) -> nn.Module:
    return models.vgg16(weights=None, num_classes=num_classes)


def _googlenet(num_classes: int) -> nn.Module:
    return models.googlenet(weights=None, num_classes=num_classes, aux_logits=False, init_weights=False)


def _squeezenet(num_classes: int) -> nn.Module:
    return models.squeezenet1_0(weights=None, num_classes=num_classes)


ALEXNET = ReferenceConfig(_alexnet, first="features.0", first_pool="features.2", minimum_size=63)
VGG16 = ReferenceConfig(_vgg16, first="features.0", first_pool="features.4")
GOOGLENET = ReferenceConfig(_googlenet, first="conv1.conv", first_pool="maxpool1")
SQUEEZENET = ReferenceConfig(_squeezenet, first="features.0", first_pool="features.2")


class ReferenceNet(Network):
    """[n, in_channels, h, w] → logits [n, num_classes]; `net` is torchvision's module.

    `stem="small"` makes the first convolution 3×3 at stride 1 and leaves out the first max-pool. Raises VariantError for a picture
    that the pooling would shrink to nothing.
    """

    def __init__(
        self, config: ReferenceConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet"
    ) -> None:
        super().__init__()
        self.net = config.build(num_classes)
        self.minimum_size = 32 if stem == "small" else config.minimum_size
        first = self.net.get_submodule(config.first)
        assert isinstance(first, nn.Conv2d)
        shape = {"kernel_size": first.kernel_size, "stride": first.stride, "padding": first.padding}
        if stem == "small":
            shape = {"kernel_size": 3, "stride": 1, "padding": 1}
        replacement = nn.Conv2d(in_channels, first.out_channels, **shape, bias=first.bias is not None)  # pyright: ignore[reportArgumentType]
        self.net.set_submodule(config.first, replacement)
        if stem == "small":
            self.net.set_submodule(config.first_pool, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if min(height, width) < self.minimum_size:
            raise VariantError(
                f"a picture of {height}×{width} is too small; this network takes {self.minimum_size}×{self.minimum_size} "
                "and larger, or stem='small'"
            )
        return self.net(x)
