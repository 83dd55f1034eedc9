"""LiteRT (once TensorFlow Lite), by litert-torch."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, one_by_one

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.exportable_heads import ExportableHeads

CALIBRATION_PICTURES = 32


def write(source: "Exportable | ExportableHeads", folder: Path) -> list[Path]:
    from shufflenet.deploy.shuffles import channels_last_shuffles

    # The converter tells its steps on the output, where a caller's JSON belongs.
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")  # jax's and litert-torch's own
        import litert_torch  # pyright: ignore[reportMissingImports]

        path = folder / f"{source.name}.tflite"
        litert_torch.convert(channels_last_shuffles(source.capture()), (source.example,)).export(str(path))
    return [path]


def write_integers(source: "Exportable", folder: Path) -> list[Path]:
    """litert-torch reads no integers of ours. Its own quantizer makes them of the float32 network, on the sample pictures."""
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.parity import sample_inputs
    from shufflenet.nets.quantized import QuantizedNetwork

    assert isinstance(source.net, QuantizedNetwork)
    before = Exportable(source.net.dequantized(), source.height_width)
    path = folder / f"{source.name}.tflite"
    with TemporaryDirectory() as scratch, warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from ai_edge_litert.interpreter import Interpreter
        from ai_edge_quantizer import quantizer, recipe  # pyright: ignore[reportMissingImports]

        (float_file,) = write(before, Path(scratch))
        ((signature, ports),) = Interpreter(str(float_file)).get_signature_list().items()
        (entry,) = ports["inputs"]
        integers = quantizer.Quantizer(str(float_file), recipe.static_wi8_ai8())
        pictures = [{entry: picture[None]} for picture in sample_inputs(before, CALIBRATION_PICTURES)]
        ranges = integers.calibrate({signature: pictures}, num_threads=1)
        integers.quantize(ranges).export_model(str(path))
    return [path]


def load(path: Path, threads: int) -> Classify:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,), results = interpreter.get_input_details(), interpreter.get_output_details()

    def run(picture: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(entry["index"], _to_codes(picture, *entry["quantization"]))
        interpreter.invoke()
        found = [_to_numbers(interpreter.get_tensor(port["index"]), *port["quantization"]) for port in results]
        return np.concatenate([numbers.reshape(1, -1) for numbers in found], axis=1)

    return one_by_one(run)


def _to_codes(numbers: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """What a port of int8 takes; a scale of 0 says that it is none."""
    if not scale:
        return numbers
    return np.clip(np.rint(numbers / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)


def _to_numbers(codes: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    return (codes.astype(np.float32) - zero_point) * np.float32(scale) if scale else codes


LITERT = Runtime(
    name="litert",
    title="LiteRT",
    package="ai-edge-litert",
    extra="litert",
    suffix=".tflite",
    writes=("litert_torch", "ai_edge_quantizer"),
    runs=("ai_edge_litert.interpreter",),
    write=write,
    write_integers=write_integers,
    write_heads=write,
    output_name="output_{}",
    load=load,
)
