"""What a detector costs, part by part, in multiply-adds as the paper counts them."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shufflenet.detection.config import DetectorConfig
from shufflenet.detection.detector import Detector


@dataclass(frozen=True)
class DetectorCost:
    """Multiply-adds for one picture of `size` (height, width, as the backbone sees it), and parameters.

    `backbone` is what gives the maps: stem to stage 3, or a pyramid with all of its stages. `head` is for `regions` regions.
    """

    size: tuple[int, int]
    regions: int
    backbone: int
    rpn: int
    head_per_region: int
    parameters: int

    @property
    def head(self) -> int:
        return self.head_per_region * self.regions

    @property
    def multiply_adds(self) -> int:
        return self.backbone + self.rpn + self.head


def resized(config: DetectorConfig, size: tuple[int, int]) -> tuple[int, int]:
    """The height and width at which a detector works on a picture of `size`, padded to multiples of 32 as torchvision does."""
    scale = min(config.short_side / min(size), config.long_side / max(size))
    height, width = (-(-int(side * scale) // 32) * 32 for side in size)
    return height, width


def detector_cost(detector: Detector, size: tuple[int, int] = (480, 640)) -> DetectorCost:
    """Count what `detector` needs for a picture of `size` before resizing, with as many regions as the RPN proposes at most.

    Nothing is computed (meta tensors), and `detector` is left as it is.
    """
    config = detector.config
    twin = copy.deepcopy(detector).to("meta").eval()
    height, width = resized(config, size)
    with FlopCounterMode(display=False) as backbone:
        maps = twin.backbone(torch.empty(1, 3, height, width, device="meta"))
    with FlopCounterMode(display=False) as rpn:
        twin.rpn.head(list(maps.values()))
    with FlopCounterMode(display=False) as head:
        channels, side = twin.backbone.out_channels, config.pool_size
        regions = nn.Sequential(twin.roi_heads.box_head, twin.roi_heads.box_predictor)
        regions(torch.empty(1, channels, side, side, device="meta"))
    return DetectorCost(
        size=(height, width),
        regions=config.proposals_test,
        backbone=backbone.get_total_flops() // 2,  # a multiply-add is two operations there
        rpn=rpn.get_total_flops() // 2,
        head_per_region=head.get_total_flops() // 2,
        parameters=sum(parameter.numel() for parameter in detector.parameters()),
    )
