"""A network as the float32 ONNX file and as the QDQ file that ONNX Runtime's own quantizer makes of it: what the int8 benchmarks share."""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import sample_inputs, untrained
from shufflenet.deploy.write_onnx import to_onnx

PICTURES = 4


class Pictures(CalibrationDataReader):
    """A few pictures for the quantizer, one at a time."""

    def __init__(self, name: str, pictures: np.ndarray) -> None:
        self._left = iter([{name: picture[None]} for picture in pictures])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantized(network: str, size: tuple[int, int], folder: Path) -> tuple[Path, Path, np.ndarray]:
    """The network as a float32 and as a QDQ file, and a picture [1, 3, height, width].

    u8 activations, s8 weights for each channel. Weights are random; their batch normalization has seen pictures.
    """
    source = Exportable(untrained(network), size)
    model, pictures = to_onnx(source), sample_inputs(source, PICTURES)
    files = folder / f"{network}.onnx", folder / f"{network}_int8.onnx"
    onnx.save(model, files[0])
    quantize_static(
        str(files[0]),
        str(files[1]),
        Pictures(model.graph.input[0].name, pictures),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return *files, pictures[:1]
