"""int8 against int8 and float32, one thread, in turn in one process: the same QDQ file in every runtime.

    python benchmarks/int8.py                        # the five networks of the table
    python benchmarks/int8.py shufflenet_x1_0_g3
    python benchmarks/int8.py --cold                 # one call at a time, so that each finds the others' data in the caches

ONNX Runtime's own quantizer writes the file: u8 activations, s8 weights a channel. Weights are random; their batch normalization has seen
pictures. Times are CPU time of the process: medians, and the least. As in benchmarks/compiled.py a turn is a call that does
not count and ten that do. A ratio is the best int8 runtime's time, or our float32's, over our int8's.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from shufflenet.compiler import compile_onnx
from shufflenet.compiler.run.build import machine_target
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import sample_inputs, untrained
from shufflenet.deploy.write_onnx import to_onnx

NETWORKS = ("shufflenet_x1_0_g3", "shufflenet_x0_5_g3", "shufflenet_x0_25_g3", "shufflenet_x1_0_g8", "mobilenet_x1_0")
SIZE = (224, 224)
PICTURES, AT_ONCE = 4, 10


class Pictures(CalibrationDataReader):
    """A few pictures for the quantizer, one at a time."""

    def __init__(self, name: str, pictures: np.ndarray) -> None:
        self._left = iter([{name: picture[None]} for picture in pictures])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantized(network: str, folder: Path) -> tuple[Path, Path, np.ndarray]:
    """The network as a float32 and as a QDQ file, and a picture [1, 3, height, width]."""
    source = Exportable(untrained(network), SIZE)
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


def calls(float_file: Path, int8_file: Path, picture: np.ndarray) -> dict[str, Callable[[], object]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(int8_file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    core = openvino.Core()
    model = core.read_model(str(int8_file))
    model.reshape([1, 3, *SIZE])
    request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1}).create_infer_request()
    ours_int8 = compile_onnx(int8_file, SIZE, name="int8").load()
    ours_float = compile_onnx(float_file, SIZE, name="float32").load()
    return {
        "ours, int8": lambda: ours_int8(picture[0]),
        "ours, float32": lambda: ours_float(picture[0]),
        "ONNX Runtime, int8": lambda: session.run(None, {name: picture}),
        "OpenVINO, int8": lambda: request.infer([picture]),
    }


def in_turn(measured: dict[str, Callable[[], object]], runs: int, *, cold: bool) -> dict[str, list[float]]:
    """Milliseconds of `runs` runs of each, some at a time after one that does not count; `cold`: one at a time, which counts."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for call in measured.values():
        for _ in range(AT_ONCE):
            call()
    at_once = 1 if cold else min(AT_ONCE, runs)
    for _ in range(-(-runs // at_once)):
        for name, call in measured.items():
            if not cold:
                call()
            for _ in range(at_once):
                start = time.process_time()
                call()
                times[name].append(1e3 * (time.process_time() - start))
    return times


def summary(found: dict[str, float]) -> str:
    """Each one's milliseconds, and the two ratios."""
    ours = found["ours, int8"]
    best = min(found[name] for name in ("ONNX Runtime, int8", "OpenVINO, int8"))
    listed = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"{listed}; best runtime {best / ours:.2f}, our float32 {found['ours, float32'] / ours:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--cold", action="store_true", help="one call of each at a time")
    arguments = parser.parse_args()
    print(f"built for {machine_target()}")
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            times = in_turn(calls(*quantized(network, Path(folder))), arguments.runs, cold=arguments.cold)
            print(f"{network}, ms, medians: {summary({name: float(np.median(some)) for name, some in times.items()})}")
            print(f"{network}, ms, least:   {summary({name: min(some) for name, some in times.items()})}", flush=True)


if __name__ == "__main__":
    main()
