"""SSD with SSDLite's predictions on the networks of this package: torchvision's detector, with our backbones, neck and anchors."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import generalized_box_iou_loss

from shufflenet.detection.anchors import anchor_grid
from shufflenet.detection.backbone import StagedNet, create_backbone
from shufflenet.detection.config import OneStageConfig
from shufflenet.nets.shufflenet import convolution

BOX_WEIGHT = 2.0  # of the boxes' loss beside the classes'
TAPS = {8: "stage2", 16: "stage3", 32: "stage4"}


def _separable(channels: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3×3 and a 1×1 convolution, each with BN, then ReLU."""
    return nn.Sequential(
        *convolution(channels, channels, 3, stride=stride, groups=channels),
        *convolution(channels, channels, 1),
        nn.ReLU(inplace=True),
    )


class Neck(nn.Module):
    """Maps of a network → maps of the config's strides, each of neck_channels.

    Each tapped map is narrowed by a 1×1 convolution, what the next coarser one knows is added, as in a feature pyramid
    (arXiv 1612.03144), and a depthwise separable convolution mixes the two. Maps of strides 64 and 128 come of the last one by
    depthwise separable convolutions too, as SSDLite's do.
    """

    def __init__(self, net: StagedNet, config: OneStageConfig) -> None:
        super().__init__()
        channels = config.neck_channels
        finest = min(32, config.strides[0])
        self.strides = config.strides
        self.tapped = [stride for stride in TAPS if stride >= finest]
        self.laterals = nn.ModuleDict(
            {TAPS[stride]: convolution(net.feature_channels[TAPS[stride]], channels, 1) for stride in self.tapped}
        )
        self.mixed = nn.ModuleDict({TAPS[stride]: _separable(channels) for stride in self.tapped})
        self.extra = nn.ModuleList(
            _separable(channels, stride=2) for stride in (64, 128) if stride <= config.strides[-1]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        maps: dict[int, Tensor] = {}
        coarser = None
        for stride in reversed(self.tapped):
            x = self.laterals[TAPS[stride]](features[TAPS[stride]])
            if coarser is not None:
                x = x + F.interpolate(coarser, scale_factor=2.0, mode="nearest")
            maps[stride] = coarser = self.mixed[TAPS[stride]](F.relu(x))
        x = maps[32]
        for stride, block in zip((64, 128), self.extra, strict=False):
            maps[stride] = x = block(x)
        return OrderedDict((f"stride{stride}", maps[stride]) for stride in self.strides)


class OneStageBackbone(nn.Module):
    """A network without its classifier, and the neck: [n, 3, h, w] → {"stride8": [n, neck_channels, h/8, w/8], …}."""

    def __init__(self, net: StagedNet, config: OneStageConfig) -> None:
        super().__init__()
        self.stem, self.stage2, self.stage3, self.stage4 = net.stem, net.stage2, net.stage3, net.stage4
        self.neck = Neck(net, config)
        self.taps = tuple(TAPS[stride] for stride in self.neck.tapped)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The network's own maps, by name."""
        maps = OrderedDict(stage2=self.stage2(self.stem(x)))
        maps["stage3"] = self.stage3(maps["stage2"])
        maps["stage4"] = self.stage4(maps["stage3"])
        return OrderedDict((name, maps[name]) for name in self.taps)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.neck(self.features(x))


class AnchorGrid(nn.Module):
    """torchvision's anchor generator with the config's anchors, which are the same for every picture."""

    corners: Tensor

    def __init__(self, config: OneStageConfig) -> None:
        super().__init__()
        self.counts = [len(level) for level in config.anchors]
        # Not saved: the config says them.
        self.register_buffer("corners", torch.from_numpy(anchor_grid(config)), persistent=False)

    def num_anchors_per_location(self) -> list[int]:
        return self.counts

    def forward(self, images: ImageList, maps: list[Tensor]) -> list[Tensor]:
        return [self.corners] * len(images.image_sizes)


class FixedSize(GeneralizedRCNNTransform):
    """torchvision's normalizing and resizing, to the config's size, in its letterbox if it says so; padded to multiples of 32."""

    def __init__(self, config: OneStageConfig) -> None:
        super().__init__(min(config.size), max(config.size), list(config.mean), list(config.std))
        self.config = config

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        height, width = self.config.size
        size: Any = [height, width]
        if self.config.letterbox:
            sides = shape_as_tensor(image)[-2:]
            scaled = torch.minimum(sides * height // sides[0], sides * width // sides[1]).clamp(min=1)
            size = [scaled[0], scaled[1]]  # not numbers: an export must see where they come from
        # A training picture has its size already.
        known = not isinstance(size[0], Tensor) and tuple(image.shape[-2:]) == (height, width)
        resized = image if known else F.interpolate(image[None], size=size, mode="bilinear")[0]
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], list(image.shape[-2:]), list(resized.shape[-2:]))
        return resized, target

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        height, width = self.config.padded_size
        padded = [F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
        return torch.stack(padded)


def _paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each box of `first` [k, 4] with the same row of `second`: [k]."""
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    common = sides.clamp(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common)


class Heads(nn.Module):
    """A one-stage detector's network alone: normalized pictures [n, 3, h, w] → logits and offsets of each level's map."""

    def __init__(self, detector: "OneStageDetector") -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.logits = detector.get_submodule("head.classification_head.module_list")
        self.offsets = detector.get_submodule("head.regression_head.module_list")

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        heads = zip(self.backbone(pictures).values(), self.logits.children(), self.offsets.children(), strict=True)
        return tuple(output for x, logits, offsets in heads for output in (logits(x), offsets(x)))


class OneStageDetector(SSD):
    """A list of RGB pictures [3, h, w] with values 0–1 → for each a dict of boxes [d, 4] (x1, y1, x2, y2), labels [d] and scores [d].

    In training mode it also takes the targets (boxes, labels from 1 up) and returns a dict of two losses, as torchvision's detectors
    do. Weights are random; `load_backbone` brings a classifier's. `config` builds the same detector again.
    """

    config: OneStageConfig
    backbone: OneStageBackbone
    training_record: dict[str, Any]

    def __init__(self, config: OneStageConfig) -> None:
        backbone = OneStageBackbone(create_backbone(config.backbone), config)
        anchors: Any = AnchorGrid(config)
        head = SSDLiteHead(
            [config.neck_channels] * len(config.strides), anchors.counts, len(config.categories) + 1, nn.BatchNorm2d
        )
        super().__init__(
            backbone,
            anchors,
            config.size,
            len(config.categories) + 1,
            head=head,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_picture,
            iou_thresh=config.match_threshold,
            topk_candidates=config.candidates_per_class,
            positive_fraction=1 / (1 + config.negatives_per_object),
        )
        self.transform = FixedSize(config)
        self.config = config
        self.training_record = {}

    def heads(self) -> nn.Module:
        """Its network alone: normalized pictures [n, 3, h, w] → for each level logits [n, anchors · classes, rows, columns] and offsets."""
        return Heads(self)

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Losses of all anchors that a picture's objects matched, and of the worst of the others: {"bbox_regression", "classification"}.

        Boxes learn their overlap with the objects (generalized IoU, arXiv 1902.09630) instead of SSD's offsets. A matched anchor's
        class is sure by as much as its box overlaps, so that scores rank boxes by how well they lie (arXiv 2006.04388).
        """
        # In float32 where the network runs in fewer bits: thousands of anchors are summed.
        offsets, logits = head_outputs["bbox_regression"].float(), head_outputs["cls_logits"].float()
        matched = torch.stack(matched_idxs)  # [n, anchors]
        foreground = matched >= 0
        of_picture = list(zip(targets, matched, foreground, strict=True))
        boxes = torch.cat([target["boxes"][indices[found]] for target, indices, found in of_picture])
        labels = torch.cat([target["labels"][indices[found]] for target, indices, found in of_picture])
        found_boxes = self.box_coder.decode_single(offsets[foreground], torch.stack(anchors)[foreground])
        box_loss = generalized_box_iou_loss(found_boxes, boxes, reduction="sum")
        overlap = _paired_iou(found_boxes.detach(), boxes)
        log_odds = logits.log_softmax(-1)
        background = -log_odds[..., 0]  # [n, anchors]
        own = log_odds[foreground]
        matched_loss = -(overlap * own.gather(1, labels[:, None])[:, 0] + (1 - overlap) * own[:, 0])
        # The worst of a picture's background, as many as its matched anchors allow.
        others = background.masked_fill(foreground, 0.0).sort(dim=1, descending=True).values
        ranks = torch.arange(others.shape[1], device=others.device)
        worst = ranks < self.neg_to_pos_ratio * foreground.sum(1, keepdim=True)
        count = max(1, len(labels))
        return {
            "bbox_regression": BOX_WEIGHT * box_loss / count,
            "classification": (matched_loss.sum() + others[worst].sum()) / count,
        }
