"""Faster R-CNN (arXiv 1506.01497) on the networks of this package: torchvision's detector, with our backbones and heads."""

from collections import OrderedDict
from collections.abc import Sequence
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
from torchvision.ops.poolers import initLevelMapper

from shufflenet.detection.backbone import StagedNet, create_backbone
from shufflenet.detection.config import TwoStageConfig

PYRAMID_STRIDES = (8, 16, 32, 64)


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


class RegionAlign(MultiScaleRoIAlign):
    """torchvision's RoIAlign over maps whose strides are known.

    torchvision concludes them from the first picture that it sees, and takes another stride where padding made much of that picture.
    """

    def __init__(self, maps: Sequence[str], strides: Sequence[int], output_size: int) -> None:
        super().__init__(list(maps), output_size, sampling_ratio=2)
        self.scales = [1 / stride for stride in strides]
        self.map_levels = initLevelMapper(*(stride.bit_length() - 1 for stride in (strides[0], strides[-1])))


class Resize(GeneralizedRCNNTransform):
    """torchvision's normalizing, resizing and padding, with the size found in whole numbers.

    torchvision multiplies by a quotient, in double precision here and in single precision in an ONNX export, so the two differ
    by a pixel for many sizes.
    """

    def __init__(self, config: TwoStageConfig) -> None:
        super().__init__(config.short_side, config.long_side, list(config.mean), list(config.std))
        self.config = config

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        sides = shape_as_tensor(image)[-2:]
        scaled = torch.minimum(
            sides * self.config.short_side // sides.min(), sides * self.config.long_side // sides.max()
        ).clamp(min=1)
        size: Any = [scaled[0], scaled[1]]  # not numbers: an export must see where they come from
        resized = F.interpolate(image[None], size=size, mode="bilinear")[0]
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], list(image.shape[-2:]), list(resized.shape[-2:]))
        return resized, target


class TwoStageDetector(FasterRCNN):
    """A list of RGB pictures [3, h, w] with values 0–1 → for each a dict of boxes [d, 4] (x1, y1, x2, y2), labels [d] and scores [d].

    In training mode it also takes the targets (boxes, labels from 1 up) and returns a dict of four losses, as torchvision's
    detectors do. Weights are random; `load_backbone` brings a classifier's. `config` builds the same detector again.
    """

    config: TwoStageConfig
    backbone: Stride16 | Pyramid
    training_record: dict[str, Any]

    def __init__(self, config: TwoStageConfig) -> None:
        net = create_backbone(config.backbone)
        if config.layout == "paper":
            backbone, strides = Stride16(net), (16,)
            head, head_channels = Stage4Head(net), net.feature_channels["stage4"]
        else:
            backbone = Pyramid(net, config.pyramid_channels)
            strides = PYRAMID_STRIDES[:-1]  # the last one is for proposals only
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
            box_roi_pool=RegionAlign(backbone.taps, strides, config.pool_size),
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
