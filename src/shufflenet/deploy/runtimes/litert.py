"""LiteRT (once TensorFlow Lite), by litert-torch."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, one_by_one

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.deploy.shuffles import channels_last_shuffles

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jax's and litert-torch's own
        import litert_torch  # pyright: ignore[reportMissingImports]

        converted = litert_torch.convert(channels_last_shuffles(source), (source.example,))
    path = folder / f"{source.name}.tflite"
    converted.export(str(path))
    return [path]


def load(path: Path, threads: int) -> Classify:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(picture: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(entry["index"], picture)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return one_by_one(run)


LITERT = Runtime(
    name="litert",
    title="LiteRT",
    package="ai-edge-litert",
    extra="litert",
    suffix=".tflite",
    writes=("litert_torch",),
    runs=("ai_edge_litert.interpreter",),
    write=write,
    load=load,
)
