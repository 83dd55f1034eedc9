"""Faster R-CNN on the networks of this package, on COCO and data like it (the paper's section 4.4 and Table 7)."""

from shufflenet.detection.coco import Annotations, open_split, read_annotations
from shufflenet.detection.config import Category, DetectorConfig, detector_config
from shufflenet.detection.cost import DetectorCost, detector_cost
from shufflenet.detection.detector import Detector, load_backbone
from shufflenet.detection.evaluate import DetectionScores, evaluate
from shufflenet.detection.export import export_backbone_onnx, export_onnx
from shufflenet.detection.folder import load_detector, save_detector
from shufflenet.detection.predict import Detection, Prediction, draw, predict
from shufflenet.detection.train import RECIPES, DetectorTraining, train_detector

__all__ = [
    "RECIPES",
    "Annotations",
    "Category",
    "Detection",
    "DetectionScores",
    "Detector",
    "DetectorConfig",
    "DetectorCost",
    "DetectorTraining",
    "Prediction",
    "detector_config",
    "detector_cost",
    "draw",
    "evaluate",
    "export_backbone_onnx",
    "export_onnx",
    "load_backbone",
    "load_detector",
    "open_split",
    "predict",
    "read_annotations",
    "save_detector",
    "train_detector",
]
