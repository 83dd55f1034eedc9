"""A classifier's network as a detector's backbone: what it must have, and how its weights and input colours come over."""

from typing import Any

import torch
from torch import Tensor, nn

from shufflenet.checkpoints import Preprocessing
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.errors import UserError
from shufflenet.nets import create
from shufflenet.nets.mobilenet import MobileNet
from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import Skeleton

StagedNet = Skeleton | MobileNet  # ShuffleNet, Table 4's rivals, MobileNet: what has maps of named strides
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, which Pillow's convert("L") uses


def create_backbone(spec: dict[str, Any]) -> StagedNet:
    """The network of a config's backbone, with random weights. Raises UserError for one without the maps that detectors need."""
    net = create(**spec)
    if not isinstance(net, StagedNet) or net.feature_strides["stage3"] != 16 or net.spec["in_channels"] != 3:
        raise UserError(
            f"{spec['name']} gives no maps of stride 8, 16 and 32 from RGB pictures; a detector needs a ShuffleNet, "
            "a rival of Table 4 or a MobileNet with the imagenet stem"
        )
    return net


def rgb_weights(net: Network) -> tuple[dict[str, Tensor], Preprocessing]:
    """A classifier's weights for RGB pictures, and the preprocessing that goes with them.

    Its first convolution is rewritten so that it computes what it did: a BGR network's input channels are reversed, a grey
    network's one channel becomes the three of luma. Raises UserError for inputs that are no pictures.
    """
    weights = dict(net.state_dict())
    preprocessing = metadata_of(net).preprocessing
    if preprocessing.channel_order == "RGB":
        return weights, preprocessing
    first = next(f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    mean, std = preprocessing.mean, preprocessing.std
    if preprocessing.channel_order == "BGR":
        weights[first] = weights[first].flip(1)
        mean, std = mean[::-1], std[::-1]
    elif preprocessing.channel_order == "grey":
        luma = torch.tensor(LUMA, dtype=weights[first].dtype)
        weights[first] = weights[first] * luma[:, None, None]  # [out, 1, 3, 3] → [out, 3, 3, 3]
        mean, std = mean * 3, std * 3
    else:
        raise UserError(
            f"the classifier takes {preprocessing.channels} channels in an order of its own; "
            "a detector needs one for RGB, BGR or grey pictures"
        )
    return weights, Preprocessing(mean=mean, std=std)


def backbone_of(net: Network) -> dict[str, Any]:
    """The spec of the same network for RGB pictures with the stride-4 stem and one class: what a config's backbone is."""
    return {**net.spec, "in_channels": 3, "stem": "imagenet", "num_classes": 1}


def preprocessing_of(net: Network) -> Preprocessing:
    """The mean and deviation, in RGB, that go with a classifier's weights in a detector."""
    return rgb_weights(net)[1]
