"""What a detector costs, part by part, in multiply-adds as the paper counts them."""

import copy
from dataclasses import dataclass

import torch
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
    scaled = [min(side * config.short_side // min(size), side * config.long_side // max(size)) for side in size]
    height, width = (-(-side // 32) * 32 for side in scaled)  # rounded up
    return height, width


def detector_cost(detector: Detector, size: tuple[int, int] | None = None) -> DetectorCost:
    """Count what `detector` needs for a picture of `size` before resizing, with as many regions as the RPN proposes at most.

    By default the picture is square, of the config's short side.

    Nothing is computed (meta tensors), and `detector` is left as it is.
    """
    config = detector.config
    twin = copy.deepcopy(detector).to("meta").eval()
    height, width = resized(config, size or (config.short_side, config.short_side))
    with FlopCounterMode(display=False) as backbone:
        maps = list(twin.backbone(torch.empty(1, 3, height, width, device="meta")).values())
    with FlopCounterMode(display=False) as rpn:
        twin.get_submodule("rpn.head")(maps)
    with FlopCounterMode(display=False) as head:
        pooled = torch.empty(1, maps[0].shape[1], config.pool_size, config.pool_size, device="meta")
        twin.get_submodule("roi_heads.box_predictor")(twin.get_submodule("roi_heads.box_head")(pooled))
    return DetectorCost(
        size=(height, width),
        regions=config.proposals_test,
        backbone=backbone.get_total_flops() // 2,  # a multiply-add is two operations there
        rpn=rpn.get_total_flops() // 2,
        head_per_region=head.get_total_flops() // 2,
        parameters=sum(parameter.numel() for parameter in detector.parameters()),
    )
