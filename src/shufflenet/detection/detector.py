"""Faster R-CNN (arXiv 1506.01497) on the networks of this package: torchvision's detector, with our backbones and heads."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from shufflenet.checkpoints import Preprocessing
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.detection.config import DetectorConfig
from shufflenet.errors import UserError
from shufflenet.nets import create
from shufflenet.nets.mobilenet import MobileNet
from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import Skeleton

StagedNet = Skeleton | MobileNet  # ShuffleNet, Table 4's rivals, MobileNet: what has maps of named strides
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, which Pillow's convert("L") uses


class Stride16(nn.Module):
    """Stem to stage 3: [n, 3, h, w] → {"stage3": [n, out_channels, h/16, w/16]}."""

    taps = ("stage3",)

    def __init__(self, net: StagedNet) -> None:
        super().__init__()
        self.stem, self.stage2, self.stage3 = net.stem, net.stage2, net.stage3
        self.out_channels = net.feature_channels["stage3"]

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The network's own maps, by the names in `taps`."""
        return OrderedDict(stage3=self.stage3(self.stage2(self.stem(x))))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.features(x)


class Pyramid(nn.Module):
    """A feature pyramid (arXiv 1612.03144): [n, 3, h, w] → maps of strides 8, 16, 32 and 64, each of out_channels."""

    taps = ("stage2", "stage3", "stage4")

    def __init__(self, net: StagedNet, out_channels: int) -> None:
        super().__init__()
        self.stem, self.stage2, self.stage3, self.stage4 = net.stem, net.stage2, net.stage3, net.stage4
        tap_channels = [net.feature_channels[stage] for stage in self.taps]
        self.pyramid = FeaturePyramidNetwork(tap_channels, out_channels, extra_blocks=LastLevelMaxPool())
        self.out_channels = out_channels

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The network's own maps, by the names in `taps`."""
        maps = OrderedDict(stage2=self.stage2(self.stem(x)))
        maps["stage3"] = self.stage3(maps["stage2"])
        maps["stage4"] = self.stage4(maps["stage3"])
        return maps

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.pyramid(self.features(x))


class Stage4Head(nn.Module):
    """Stage 4 on every region: [regions, stage-3 channels, 14, 14] → [regions, stage-4 channels]."""

    def __init__(self, net: StagedNet) -> None:
        super().__init__()
        self.stage4 = net.stage4

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.stage4(x), 1).flatten(1)


class Resize(GeneralizedRCNNTransform):
    """torchvision's normalizing, resizing and padding, with the size found in whole numbers.

    torchvision multiplies by a quotient, in double precision here and in single precision in an ONNX export, so that the two differ
    by a pixel for many sizes.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config.short_side, config.long_side, list(config.mean), list(config.std))
        self.config = config

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        sides = shape_as_tensor(image)[-2:]
        scaled = torch.minimum(
            sides * self.config.short_side // sides.min(), sides * self.config.long_side // sides.max()
        )
        size: Any = [scaled[0], scaled[1]]  # not numbers: an export must see where they come from
        resized = F.interpolate(image[None], size=size, mode="bilinear")[0]
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], list(image.shape[-2:]), list(resized.shape[-2:]))
        return resized, target


class Detector(FasterRCNN):
    """A list of RGB pictures [3, h, w] with values 0–1 → for each a dict of boxes [d, 4] (x1, y1, x2, y2), labels [d] and scores [d].

    In training mode it also takes the targets (boxes, labels from 1 up) and returns a dict of four losses, as torchvision's
    detectors do. Weights are random; `detector_from` brings a classifier's. `config` builds the same detector again.
    """

    config: DetectorConfig
    backbone: Stride16 | Pyramid
    training_record: dict[str, Any]

    def __init__(self, config: DetectorConfig) -> None:
        net = create(**config.backbone)
        if not isinstance(net, StagedNet) or net.feature_strides["stage3"] != 16 or net.spec["in_channels"] != 3:
            raise UserError(
                f"{config.backbone['name']} gives no maps of stride 8, 16 and 32 from RGB pictures; a detector needs a ShuffleNet, "
                "a rival of Table 4 or a MobileNet with the imagenet stem"
            )
        if config.layout == "paper":
            backbone, levels = Stride16(net), ["stage3"]
            head, head_channels = Stage4Head(net), net.feature_channels["stage4"]
        else:
            backbone, levels = Pyramid(net, config.pyramid_channels), ["stage2", "stage3", "stage4"]
            head_channels = config.head_channels
            head = TwoMLPHead(config.pyramid_channels * config.pool_size**2, head_channels)
        super().__init__(
            backbone,
            rpn_anchor_generator=AnchorGenerator(
                config.anchor_sizes, (config.aspect_ratios,) * len(config.anchor_sizes)
            ),
            rpn_pre_nms_top_n_train=6 * config.proposals_train,
            rpn_pre_nms_top_n_test=6 * config.proposals_test,
            rpn_post_nms_top_n_train=config.proposals_train,
            rpn_post_nms_top_n_test=config.proposals_test,
            rpn_batch_size_per_image=config.anchors_per_picture,
            box_roi_pool=MultiScaleRoIAlign(levels, output_size=config.pool_size, sampling_ratio=2),
            box_head=head,
            box_predictor=FastRCNNPredictor(head_channels, len(config.categories) + 1),
            box_batch_size_per_image=config.regions_per_picture,
            box_nms_thresh=config.nms_threshold,
            box_score_thresh=config.score_threshold,
            box_detections_per_img=config.detections_per_picture,
        )
        self.transform = Resize(config)
        self.config = config
        self.training_record = {}


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


def load_backbone(detector: Detector, net: Network) -> None:
    """Give `detector` the weights of the classifier `net` up to stage 4. Its config must hold `backbone_of(net)`."""
    weights, _ = rgb_weights(net)
    trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}
    own = {key.removeprefix("backbone.").removeprefix("roi_heads.box_head."): key for key in detector.state_dict()}
    missing = [name for name in trunk if name not in own]
    assert not missing, f"{detector.config.backbone['name']} has no place for {missing}"
    detector.load_state_dict({own[name]: tensor for name, tensor in trunk.items()}, strict=False)
