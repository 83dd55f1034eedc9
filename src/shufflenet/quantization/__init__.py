"""From a float32 network to one of 8-bit integers: calibration, fine-tuning, and what each layer loses. Open post_training.py first."""

from shufflenet.quantization.aware import QAT, aware_recipe, fine_tune
from shufflenet.quantization.calibration import CALIBRATIONS, calibrate
from shufflenet.quantization.detector import calibrated_detector, quantize_and_test_detector
from shufflenet.quantization.method import Method
from shufflenet.quantization.noise import LayerNoise, layer_noise
from shufflenet.quantization.post_training import calibrated, quantize
from shufflenet.quantization.report import quantize_and_test

__all__ = [
    "CALIBRATIONS",
    "QAT",
    "LayerNoise",
    "Method",
    "aware_recipe",
    "calibrate",
    "calibrated",
    "calibrated_detector",
    "fine_tune",
    "layer_noise",
    "quantize",
    "quantize_and_test",
    "quantize_and_test_detector",
]
