"""Faster R-CNN and SSDLite on the networks of this package, on COCO and data like it (the paper's section 4.4 and Table 7)."""

from shufflenet.detection.backbone import backbone_of
from shufflenet.detection.coco import Annotations, open_split, read_annotations
from shufflenet.detection.config import (
    Category,
    DetectorConfig,
    OneStageConfig,
    TwoStageConfig,
    config_from_json,
    detector_config,
)
from shufflenet.detection.cost import DetectorCost, detector_cost
from shufflenet.detection.detector import Detector, build_detector, detector_for, load_backbone, one_stage_config
from shufflenet.detection.evaluate import DetectionScores, evaluate
from shufflenet.detection.export import export_backbone_onnx, export_onnx
from shufflenet.detection.folder import load_detector, save_detector
from shufflenet.detection.predict import FoundObject, FoundObjects, draw, predict
from shufflenet.detection.recipe import DetectionRecipe, recipes_for
from shufflenet.detection.train import DetectorTraining, train_detector

__all__ = [
    "Annotations",
    "Category",
    "DetectionRecipe",
    "DetectionScores",
    "Detector",
    "DetectorConfig",
    "DetectorCost",
    "DetectorTraining",
    "FoundObject",
    "FoundObjects",
    "OneStageConfig",
    "TwoStageConfig",
    "backbone_of",
    "build_detector",
    "config_from_json",
    "detector_config",
    "detector_cost",
    "detector_for",
    "draw",
    "evaluate",
    "export_backbone_onnx",
    "export_onnx",
    "load_backbone",
    "load_detector",
    "one_stage_config",
    "open_split",
    "predict",
    "read_annotations",
    "recipes_for",
    "save_detector",
    "train_detector",
]
