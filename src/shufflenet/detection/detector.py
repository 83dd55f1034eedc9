"""Faster R-CNN (arXiv 1506.01497) on the networks of this package: torchvision's detector, with our backbones and heads."""

from collections import OrderedDict
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from shufflenet.checkpoints import IMAGENET, Preprocessing
from shufflenet.detection.config import DetectorConfig
from shufflenet.errors import UserError
from shufflenet.nets import create
from shufflenet.nets.network import Network

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, which Pillow's convert("L") uses


class Stride16(nn.Module):
    """Stem to stage 3: [n, 3, h, w] → {"stage3": [n, out_channels, h/16, w/16]}."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.stem, self.stage2, self.stage3 = net.stem, net.stage2, net.stage3
        self.out_channels = net.feature_channels["stage3"]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return OrderedDict(stage3=self.stage3(self.stage2(self.stem(x))))


class Pyramid(nn.Module):
    """A feature pyramid (arXiv 1612.03144): [n, 3, h, w] → maps of strides 8, 16, 32 and 64, each of out_channels."""

    def __init__(self, net: Network, out_channels: int) -> None:
        super().__init__()
        self.stem, self.stage2, self.stage3, self.stage4 = net.stem, net.stage2, net.stage3, net.stage4
        taps = [net.feature_channels[stage] for stage in ("stage2", "stage3", "stage4")]
        self.pyramid = FeaturePyramidNetwork(taps, out_channels, extra_blocks=LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = OrderedDict(stage2=self.stage2(self.stem(x)))
        maps["stage3"] = self.stage3(maps["stage2"])
        maps["stage4"] = self.stage4(maps["stage3"])
        return self.pyramid(maps)


class Stage4Head(nn.Module):
    """Stage 4 on every region: [regions, stage-3 channels, 14, 14] → [regions, stage-4 channels]."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.stage4 = net.stage4

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.stage4(x), 1).flatten(1)


class Detector(FasterRCNN):
    """A list of RGB pictures [3, h, w] with values 0–1 → for each a dict of boxes [d, 4] (x1, y1, x2, y2), labels [d] and scores [d].

    In training mode it also takes the targets (boxes, labels from 1 up) and returns a dict of four losses, as torchvision's
    detectors do. Weights are random; `detector_from` brings a classifier's. `config` builds the same detector again.
    """

    config: DetectorConfig
    training_record: dict[str, Any]

    def __init__(self, config: DetectorConfig) -> None:
        net = create(**config.backbone)
        strides = getattr(net, "feature_strides", None)
        if strides is None or (strides["stage3"], strides["stage4"]) != (16, 32) or config.backbone["in_channels"] != 3:
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
            min_size=config.short_side,
            max_size=config.long_side,
            image_mean=list(config.mean),
            image_std=list(config.std),
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
        self.config = config
        self.training_record = {}
        if config.batch_norm == "frozen":
            for norm in self._norms():
                norm.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def train(self, mode: bool = True) -> Self:
        """As torch's; frozen batch normalization stays in eval mode."""
        super().train(mode)
        if self.config.batch_norm == "frozen":
            for norm in self._norms():
                norm.eval()
        return self


def rgb_weights(net: Network, preprocessing: Preprocessing) -> tuple[dict[str, Tensor], Preprocessing]:
    """A classifier's weights for RGB pictures, and the preprocessing that goes with them.

    Its first convolution is rewritten so that it computes what it did: a BGR network's input channels are reversed, a grey
    network's one channel becomes the three of luma. Raises UserError for inputs that are no pictures.
    """
    weights = dict(net.state_dict())
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
            f"the classifier takes {preprocessing.channels} channels in an order of its own; a detector needs one for RGB, BGR or grey pictures"
        )
    return weights, Preprocessing(mean=mean, std=std)


def rgb_spec(net: Network) -> dict[str, Any]:
    """The spec of the same network for RGB pictures with the stride-4 stem and one class: what a backbone is."""
    return {**net.spec, "in_channels": 3, "stem": "imagenet", "num_classes": 1}


def load_backbone(detector: Detector, net: Network) -> None:
    """Give `detector` the weights of the classifier `net` up to stage 4. Its config must hold `rgb_spec(net)`."""
    preprocessing = net.metadata.preprocessing if net.metadata else IMAGENET
    weights, _ = rgb_weights(net, preprocessing)
    trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}
    own = {key.removeprefix("backbone.").removeprefix("roi_heads.box_head."): key for key in detector.state_dict()}
    missing = [name for name in trunk if name not in own]
    assert not missing, f"{detector.config.backbone['name']} has no place for {missing}"
    detector.load_state_dict({own[name]: tensor for name, tensor in trunk.items()}, strict=False)
