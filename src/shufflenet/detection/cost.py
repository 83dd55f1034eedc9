"""What a detector costs, part by part, in multiply-adds as the paper counts them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from shufflenet.detection.config import TwoStageConfig
from shufflenet.detection.detector import Detector, build_detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.nets import Size, height_width


@dataclass(frozen=True)
class DetectorCost:
    """Multiply-adds for one picture of `size` (height, width, as the backbone sees it), and parameters.

    `backbone` is the network's own stages, `neck` what makes a pyramid of their maps. A one-stage detector has no RPN, and its head
    sees whole maps: one region.
    """

    size: tuple[int, int]
    regions: int
    backbone: int
    neck: int
    rpn: int
    head_per_region: int
    parameters: int

    @property
    def head(self) -> int:
        return self.head_per_region * self.regions

    @property
    def multiply_adds(self) -> int:
        return self.backbone + self.neck + self.rpn + self.head


def resized(config: TwoStageConfig, size: tuple[int, int]) -> tuple[int, int]:
    """The height and width at which a detector works on a picture of `size`, padded to multiples of 32 as torchvision does."""
    scaled = [max(1, min(side * config.short_side // min(size), side * config.long_side // max(size))) for side in size]
    height, width = (-(-side // 32) * 32 for side in scaled)  # rounded up
    return height, width


def _counted(compute: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() // 2  # a multiply-add is two operations there


def detector_cost(detector: Detector, size: Size | None = None) -> DetectorCost:
    """Count what `detector` needs for a picture of `size` before resizing, with as many regions as the RPN proposes at most.

    By default the picture is square, of the config's short side; a one-stage detector has one size for all.
    Nothing is computed (meta tensors), and `detector` is left as it is. A quantized detector counts as the float one.
    """
    config = detector.config
    with torch.device("meta"):
        twin = build_detector(config).eval()
    if isinstance(config, TwoStageConfig):
        height, width = resized(config, height_width(size or config.short_side))
    else:
        height, width = config.padded_size
    picture = torch.empty(1, 3, height, width, device="meta")
    backbone = _counted(lambda: twin.backbone.features(picture))
    maps = list(twin.backbone(picture).values())
    if isinstance(twin, OneStageDetector):
        rpn, regions, head = 0, 1, _counted(lambda: twin.head(maps))
    else:
        pooled = torch.empty(1, maps[0].shape[1], twin.config.pool_size, twin.config.pool_size, device="meta")
        box_head, predictor = twin.get_submodule("roi_heads.box_head"), twin.get_submodule("roi_heads.box_predictor")
        rpn = _counted(lambda: twin.get_submodule("rpn.head")(maps))
        regions, head = twin.config.proposals_test, _counted(lambda: predictor(box_head(pooled)))
    return DetectorCost(
        size=(height, width),
        regions=regions,
        backbone=backbone,
        neck=_counted(lambda: twin.backbone(picture)) - backbone,
        rpn=rpn,
        head_per_region=head,
        parameters=sum(parameter.numel() for parameter in twin.parameters()),
    )
