"""ONNX and ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.deploy.write_onnx import shared_onnx

    path = folder / f"{source.name}.onnx"
    path.write_bytes(shared_onnx(source).SerializeToString(deterministic=True))
    return [path]


def load(path: Path, threads: int) -> Classify:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return lambda batch: np.asarray(session.run(None, {entry.name: batch})[0])


ONNX_RUNTIME = Runtime(
    name="onnx",
    title="ONNX Runtime",
    package="onnxruntime",
    extra="onnx",
    suffix=".onnx",
    writes=("onnx",),
    runs=("onnxruntime",),
    write=write,
    load=load,
    write_integers=write,
    open_size=True,
)
