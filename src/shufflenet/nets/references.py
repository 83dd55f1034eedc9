"""AlexNet, VGG-16, GoogLeNet and SqueezeNet (Tables 6 and 8): torchvision's definitions, with any number of input channels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from shufflenet.nets.errors import VariantError
from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import StemKind


@dataclass(frozen=True)
class ReferenceConfig:
    """One of torchvision's networks. `first` and `first_pool` name the layers that a small stem replaces and leaves out."""

    build: Callable[..., nn.Module]
    first: str
    first_pool: str
    minimum_size: int = 32  # of an input with the imagenet stem


def _torchvision(name: str, num_classes: int, **options: bool) -> nn.Module:
    from torchvision import models  # not above: it takes longer to import than all the rest that most people need

    return models.get_model(name, weights=None, num_classes=num_classes, **options)


_googlenet = partial(_torchvision, "googlenet", aux_logits=False, init_weights=False)
ALEXNET = ReferenceConfig(partial(_torchvision, "alexnet"), "features.0", "features.2", minimum_size=63)
VGG16 = ReferenceConfig(partial(_torchvision, "vgg16"), "features.0", "features.4")
GOOGLENET = ReferenceConfig(_googlenet, "conv1.conv", "maxpool1")
SQUEEZENET = ReferenceConfig(partial(_torchvision, "squeezenet1_0"), "features.0", "features.2")


class ReferenceNet(Network):
    """[n, in_channels, h, w] → logits [n, num_classes]; `net` is torchvision's module.

    `stem="small"` makes the first convolution 3×3 at stride 1 and leaves out the first max-pool. Raises VariantError for a picture
    that the pooling would shrink to nothing.
    """

    def __init__(
        self, config: ReferenceConfig, *, num_classes: int = 1000, in_channels: int = 3, stem: StemKind = "imagenet"
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
