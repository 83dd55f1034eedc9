"""int8 against int8 and float32, one thread, in turn in one process: the same QDQ file in every runtime.

    python benchmarks/int8.py                        # the five networks of the table
    python benchmarks/int8.py shufflenet_x1_0_g3
    python benchmarks/int8.py --target x86_64-v3     # ours for AVX2 without VNNI, int8 beside float32
    python benchmarks/int8.py --gcc                  # ours by gcc beside ours by clang
    python benchmarks/int8.py --cold                 # one call at a time, so that each finds the others' data in the caches

ONNX Runtime's own quantizer writes the file: u8 activations, s8 weights a channel. Weights are random; their batch normalization has seen
pictures. Times are CPU time of the process: medians, and the least. As in benchmarks/compiled.py a turn is a call that does
not count and ten that do. A ratio is the best int8 runtime's time, or our float32's, over our int8's.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import openvino
from quantized import quantized
from turns import in_turn

from shufflenet.compiler import build, compile_onnx, load
from shufflenet.compiler.run.build import machine_target

NETWORKS = ("shufflenet_x1_0_g3", "shufflenet_x0_5_g3", "shufflenet_x0_25_g3", "shufflenet_x1_0_g8", "mobilenet_x1_0")
SIZE = (224, 224)
AT_ONCE = 10


def rivals(int8_file: Path, picture: np.ndarray) -> dict[str, Callable[[], object]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(int8_file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    core = openvino.Core()
    model = core.read_model(str(int8_file))
    model.reshape([1, 3, *SIZE])
    request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1}).create_infer_request()
    return {
        "ONNX Runtime, int8": lambda: session.run(None, {name: picture}),
        "OpenVINO, int8": lambda: request.infer([picture]),
    }


def ours(file: Path, name: str, picture: np.ndarray, target: str, *, gcc: bool = False) -> Callable[[], object]:
    """A call of the network in an ONNX file."""
    with patch.dict(os.environ, {"CC": "gcc"} if gcc else {}):
        network = load(build(compile_onnx(file, SIZE, name=name).source, target))
    return lambda: network(picture[0])


def summary(found: dict[str, float]) -> str:
    """Each one's milliseconds, and how many times ours the best runtime's, our float32's and gcc's are."""
    int8 = found["ours, int8"]
    runtimes = [value for name, value in found.items() if not name.startswith("ours")]
    ratios = {"our float32": found["ours, float32"]}
    if runtimes:
        ratios["best runtime"] = min(runtimes)
    if "ours, int8, gcc" in found:
        ratios["gcc"] = found["ours, int8, gcc"]
    listed = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"{listed}; {', '.join(f'{name} {value / int8:.2f}' for name, value in ratios.items())}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--cold", action="store_true", help="one call of each at a time")
    parser.add_argument(
        "--target",
        default=machine_target(),
        help="what ours is built for, without the others if it is not this machine",
    )
    parser.add_argument("--gcc", action="store_true", help="ours built by gcc as well, without the others")
    arguments = parser.parse_args()
    target = arguments.target
    alone = arguments.gcc or target != machine_target()
    print(f"built for {target}")
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            float_file, int8_file, picture = quantized(network, SIZE, Path(folder))
            measured = {
                "ours, int8": ours(int8_file, "int8", picture, target),
                "ours, float32": ours(float_file, "float32", picture, target),
            }
            if arguments.gcc:
                measured["ours, int8, gcc"] = ours(int8_file, "int8", picture, target, gcc=True)
            if not alone:
                measured |= rivals(int8_file, picture)
            at_once, uncounted = (1, 0) if arguments.cold else (AT_ONCE, 1)
            times = in_turn(measured, arguments.runs, at_once=at_once, uncounted=uncounted)
            print(f"{network}, ms, medians: {summary({name: float(np.median(some)) for name, some in times.items()})}")
            print(f"{network}, ms, least:   {summary({name: min(some) for name, some in times.items()})}", flush=True)


if __name__ == "__main__":
    main()
