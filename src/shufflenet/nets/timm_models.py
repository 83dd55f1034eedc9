"""The paper's networks through timm: `import shufflenet.nets.timm_models`, then `timm.create_model("shufflenet_x1_0_g3", ...)`.

Importing this module is what tells timm of them: ShuffleNet's variants and the rivals on its skeleton, `features_only` included.
Weights have the same names as ours, so timm's `checkpoint_path` reads the model.safetensors that `shufflenet.save` wrote.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from shufflenet.nets.shufflenet import Skeleton
from shufflenet.nets.variants import NETWORKS, create, variants

try:
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
except ImportError as error:
    raise ImportError("timm is not installed; pip install 'shufflenet[timm]'") from error


class TimmNet(nn.Module):
    """A network of ours with the methods that timm's tools call. [n, in_chans, h, w] → logits [n, num_classes].

    As usual in timm, `num_classes=0` leaves the classifier out and gives pooled features. `fields` go to `shufflenet.create`.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        **fields: Any,
    ) -> None:
        super().__init__()
        net = create(name, num_classes=max(num_classes, 1), in_channels=in_chans, **fields)
        assert isinstance(net, Skeleton)
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.num_features = self.head_hidden_size = net.feature_channels["stage4"]
        self.feature_info = [
            {"module": module, "num_chs": net.feature_channels[module], "reduction": net.feature_strides[module]}
            for module in net.intermediates
        ]
        self.stem, self.stage2, self.stage3, self.stage4 = net.stem, net.stage2, net.stage3, net.stage4
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.classifier = net.classifier if num_classes > 0 else nn.Identity()

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, at random; none with `num_classes=0`."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.classifier = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map: [n, num_features, ⌈h / 32⌉, ⌈w / 32⌉]."""
        return self.stage4(self.stage3(self.stage2(self.stem(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From the last map to logits, or to what the classifier would get."""
        x = F.dropout(self.global_pool(x), self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


NAMES = [name for name, variant in variants().items() if issubclass(NETWORKS[type(variant.config)], Skeleton)]

# The paper's evaluation: the short side at 256 pixels, a centre crop of 224.
default_cfgs = generate_default_cfgs(
    {
        name: {
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "first_conv": "stem.0",
            "classifier": "classifier",
            "paper_ids": "arXiv:1707.01083",
        }
        for name in NAMES
    }
)


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    """timm's registry takes functions, and calls a network by its function's name."""

    def entrypoint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        def build(**arguments: Any) -> TimmNet:
            return TimmNet(name, **arguments)

        return build_model_with_cfg(build, name, pretrained, feature_cfg={"out_indices": (0, 1, 2, 3)}, **kwargs)

    entrypoint.__name__ = name
    return entrypoint


__all__ = ["TimmNet"]  # register_model adds the rest
for _name in NAMES:
    globals()[_name] = register_model(_entrypoint(_name))
