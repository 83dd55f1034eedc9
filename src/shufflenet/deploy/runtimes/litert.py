"""LiteRT (once TensorFlow Lite), by litert-torch."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, one_by_one

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.exportable_heads import ExportableHeads


def write(source: "Exportable | ExportableHeads", folder: Path) -> list[Path]:
    from shufflenet.deploy.shuffles import channels_last_shuffles

    # The converter tells its steps on the output, where a caller's JSON belongs.
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")  # jax's and litert-torch's own
        import litert_torch  # pyright: ignore[reportMissingImports]

        path = folder / f"{source.name}.tflite"
        litert_torch.convert(channels_last_shuffles(source.capture()), (source.example,)).export(str(path))
    return [path]


def load(path: Path, threads: int) -> Classify:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,), results = interpreter.get_input_details(), interpreter.get_output_details()

    def run(picture: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(entry["index"], picture)
        interpreter.invoke()
        return np.concatenate([interpreter.get_tensor(result["index"]).reshape(1, -1) for result in results], axis=1)

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
    write_heads=write,
    output_name="output_{}",
    load=load,
)
