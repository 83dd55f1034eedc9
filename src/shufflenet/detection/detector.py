"""Detectors of every layout: made from a config or from a classifier and data."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from shufflenet.detection.anchors import choose_anchors
from shufflenet.detection.backbone import backbone_of, create_backbone, preprocessing_of, rgb_weights
from shufflenet.detection.coco import Annotations
from shufflenet.detection.config import (
    STRIDES,
    DetectorConfig,
    Layout,
    OneStageConfig,
    TwoStageConfig,
    check_fields,
    detector_config,
)
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.two_stage import TwoStageDetector
from shufflenet.nets.network import Network
from shufflenet.nets.size import Size, height_width

Detector = TwoStageDetector | OneStageDetector

# With more classes a head at stride 8 costs more than the network, so the first map has stride 16, as in MobileNetV2's SSDLite.
MOST_CATEGORIES_AT_STRIDE_8 = 8


def build_detector(config: DetectorConfig) -> Detector:
    """The detector that a config describes, with random weights. Raises UserError for a backbone that will not do."""
    if isinstance(config, OneStageConfig):
        return OneStageDetector(config)
    assert isinstance(config, TwoStageConfig)
    return TwoStageDetector(config)


def one_stage_config(
    backbone: Mapping[str, Any],
    training_set: Annotations,
    *,
    size: Size = 320,
    letterbox: bool = False,
    **overrides: Any,
) -> OneStageConfig:
    """A one-stage detector's numbers for a data set: anchors from its boxes, and a neck of a third of stage 2's channels.

    `overrides` are fields of OneStageConfig. Raises UserError for unknown fields, and as OneStageConfig does.
    """
    check_fields(OneStageConfig, overrides)
    size = height_width(size)
    values: dict[str, Any] = dict(overrides)
    if "anchors" not in values:
        strides = STRIDES if len(training_set.categories) <= MOST_CATEGORIES_AT_STRIDE_8 else STRIDES[1:]
        chosen = choose_anchors(training_set, size, letterbox=letterbox, strides=values.get("strides", strides))
        values["strides"], values["anchors"] = chosen
    if "neck_channels" not in values:
        stage2_channels = create_backbone(dict(backbone)).feature_channels["stage2"]
        values["neck_channels"] = max(24, round(stage2_channels / 24) * 8)
    return OneStageConfig(
        backbone=dict(backbone), categories=training_set.categories, size=size, letterbox=letterbox, **values
    )


def detector_for(
    classifier: Network,
    training_set: Annotations,
    *,
    layout: Layout = "paper",
    trained: bool = False,
    **settings: Any,
) -> Detector:
    """A detector of a layout for a data set, on the network of a classifier; with its weights if `trained`.

    `settings` are what `detector_config` takes, or `one_stage_config` for the layout ssdlite. Raises UserError as these do.
    """
    preprocessing = preprocessing_of(classifier)
    settings = {"mean": preprocessing.mean, "std": preprocessing.std, **settings}
    backbone = backbone_of(classifier)
    if layout == "ssdlite":
        config: DetectorConfig = one_stage_config(backbone, training_set, **settings)
    else:
        config = detector_config(backbone, training_set.categories, layout=layout, **settings)
    detector = build_detector(config)
    if trained:
        load_backbone(detector, classifier)
    return detector


def device_of(detector: Detector) -> torch.device:
    """Where it computes. A quantized detector has no parameters."""
    return next(chain(detector.parameters(), detector.buffers())).device


def load_backbone(detector: Detector, net: Network) -> None:
    """Give `detector` the weights of the classifier `net` up to stage 4. Its config must hold `backbone_of(net)`."""
    weights, _ = rgb_weights(net)
    trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}
    own = {key.removeprefix("backbone.").removeprefix("roi_heads.box_head."): key for key in detector.state_dict()}
    missing = [name for name in trunk if name not in own]
    assert not missing, f"{detector.config.backbone['name']} has no place for {missing}"
    detector.load_state_dict({own[name]: tensor for name, tensor in trunk.items()}, strict=False)
