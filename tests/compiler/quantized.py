"""QDQ files for tests, as ONNX Runtime's own quantizer writes them."""

import logging
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

FORMS = {
    "u8s8 per channel": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "u8s8 per tensor": {"activation_type": QuantType.QUInt8, "per_channel": False},
    "s8s8 per channel": {"activation_type": QuantType.QInt8, "per_channel": True},
    "s8s8 symmetric": {"activation_type": QuantType.QInt8, "extra_options": {"ActivationSymmetric": True}},
}


class _Pictures(CalibrationDataReader):
    def __init__(self, inputs: list[dict[str, np.ndarray]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def pictures(model: onnx.ModelProto, count: int, first: int = 0) -> list[dict[str, np.ndarray]]:
    """Inputs at random; a batch that is left open is 1."""
    (info,) = model.graph.input
    shape = [max(dim.dim_value, 1) for dim in info.type.tensor_type.shape.dim]
    return [
        {info.name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
        for seed in range(first, first + count)
    ]


def quantized(
    model: onnx.ModelProto, inputs: list[dict[str, np.ndarray]], folder: Path, form: str = "u8s8 per channel"
) -> onnx.ModelProto:
    """The network in QDQ form, calibrated on these inputs."""
    before, after = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model, before)
    logging.disable(logging.WARNING)  # it advises to preprocess
    try:
        quantize_static(
            before, after, _Pictures(inputs), quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt8, **FORMS[form]
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(after)
