"""MNN, from ONNX by the converter in its wheel.

The wheel's scripts (mnnconvert, MNN.tools) install a usage-logging package with pip when they are first run, and so may change other
packages in the environment. The converter itself is a plain extension module, `_tools`, and is called here without them.
"""

import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, call_converter

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable

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
)
