"""MNN, from ONNX by the converter in its wheel.

The wheel's scripts (mnnconvert, MNN.tools) install a usage-logging package with pip when they are first run, and so may change other
packages in the environment. The converter itself is a plain extension module, `_tools`, and is called here without them.
"""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, call_converter
from shufflenet.errors import UserError

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable

QUANTIZE = "import sys, _tools; _tools.mnnquant(['mnnquant', *sys.argv[1:]])"
CALIBRATION_PICTURES = 32
CONVERT = "import sys, _tools; sys.exit(not _tools.mnnconvert(['mnnconvert', *sys.argv[1:]]))"


def write(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.deploy.write_onnx import shared_onnx

    path = folder / f"{source.name}.mnn"
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "net.onnx").write_bytes(shared_onnx(source).SerializeToString())
        options = [
            "-f",
            "ONNX",
            "--modelFile",
            "net.onnx",
            "--MNNModel",
            str(path.resolve()),
            "--bizCode",
            "shufflenet",
        ]
        call_converter("MNN", [sys.executable, "-c", CONVERT, *options], Path(scratch), path)
    return [path]


def write_integers(source: "Exportable", folder: Path) -> list[Path]:
    """MNN reads no QuantizeLinear with a scale for each channel. Its own tool quantizes the float32 network, on the sample pictures."""
    from torchvision.transforms.v2.functional import to_pil_image

    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.parity import sample_pictures
    from shufflenet.nets.quantized import QuantizedNetwork

    assert isinstance(source.net, QuantizedNetwork)
    preprocessing = replace(source.metadata.preprocessing, size=source.height_width, short_side=None)
    orders = {"RGB": "RGB", "BGR": "BGR", "grey": "GRAY"}
    if preprocessing.channel_order not in orders:
        raise UserError("MNN's tool calibrates on pictures only, and the network takes none")
    path = folder / f"{source.name}.mnn"
    height, width = source.height_width
    with TemporaryDirectory() as scratch:
        pictures = Path(scratch) / "pictures"
        pictures.mkdir()
        (before,) = write(Exportable(source.net.dequantized(), source.size), Path(scratch))
        for number, picture in enumerate(sample_pictures(preprocessing, CALIBRATION_PICTURES)):
            to_pil_image(picture).save(pictures / f"{number}.png")
        settings = {
            "format": orders[preprocessing.channel_order],
            "mean": [255 * mean for mean in preprocessing.mean],
            "normal": [1 / (255 * std) for std in preprocessing.std],
            "width": width,
            "height": height,
            "path": str(pictures),
            "used_image_num": CALIBRATION_PICTURES,
            "feature_quantize_method": "KL",
            "weight_quantize_method": "MAX_ABS",
        }
        (Path(scratch) / "settings.json").write_text(json.dumps(settings))
        command = [sys.executable, "-c", QUANTIZE, str(before), str(path.resolve()), "settings.json"]
        call_converter("MNN", command, Path(scratch), path)
    return [path]


def load(path: Path, threads: int) -> Classify:
    MNN: Any = importlib.import_module("MNN")  # an extension without types
    expr = MNN.expr
    # The loader's own thread_num is not heeded: four threads would start.
    settings = {"backend": expr.Backend.CPU, "numThread": threads, "precision": "high"}
    manager = MNN.nn.create_runtime_manager((settings,))
    # Names are read from the file when none are given.
    net = MNN.nn.load_module_from_file(str(path), [], [], runtime_manager=manager)

    def run(batch: np.ndarray) -> np.ndarray:
        entry = expr.placeholder(list(batch.shape), expr.NCHW, expr.float if batch.dtype == np.float32 else expr.uint8)
        entry.write(batch)
        return np.array(expr.convert(net.forward([entry])[0], expr.NCHW).read())

    return run


MNN = Runtime(
    name="mnn",
    title="MNN",
    package="MNN",
    extra="mnn",
    suffix=".mnn",
    writes=("onnx", "_tools"),
    runs=("MNN",),
    write=write,
    load=load,
    write_integers=write_integers,
)
