"""Faster R-CNN on one thread, the whole call from 8-bit pixels to boxes: compiled, ONNX Runtime and torch, in turn; and others beside it.

    python benchmarks/two_stage_speed.py [--short-side 128] [--size 128x128] [--rounds 20] [--detector FIELD=VALUE]…
    python benchmarks/two_stage_speed.py --two-stage FOLDER --beside FOLDER… --pictures DATA [--engines compiled,torch] [-o RECORD.json]

Without `--two-stage` it is a random one on 0.5×, whose fields `--detector` sets as `detect train` does; BN's statistics are those of noise,
so that about as many regions are proposed as the detector allows. `--beside` names one-stage detectors, of numbers or of integers, which
take their turns too: each engine's share of the Faster R-CNN's time is printed. `--pictures` is a data set, of whose test part the first
five pictures are looked at; without it, it is noise. ONNX Runtime runs the graph that `shufflenet detect export` writes. `torch ×5` is
torch on five pictures at once: the time of one.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch

from shufflenet.atomic import write_text
from shufflenet.cli.options import parse_size
from shufflenet.data.pictures import read_picture
from shufflenet.deploy.detector import compile_detector
from shufflenet.deploy.detector_bench import as_floats
from shufflenet.detection import (
    Category,
    Detector,
    build_detector,
    detector_config,
    export_onnx,
    load_detector,
    open_split,
)
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.training.environment import environment
from shufflenet.training.recipe import merge, parse_setting

BACKBONE = {"name": "shufflenet_x0_5_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}
PICTURES = 5
TWO_STAGES = "Faster R-CNN"

Pictures = list[np.ndarray]
Look = Callable[[np.ndarray], Any]  # at one picture


@torch.no_grad()
def random_detector(short_side: int, fields: dict[str, Any]) -> Detector:
    """Ten classes, the layout's usual numbers but for `fields`."""
    torch.manual_seed(0)
    named = tuple(Category(i, f"class {i}") for i in range(1, 11))
    detector = build_detector(detector_config(BACKBONE, named, layout="fpn", short_side=short_side, **fields))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    detector.train().backbone(torch.randn(4, 3, 64, 64))
    return detector.eval()


def compiled(detector: Detector, size: tuple[int, int]) -> Look:
    return compile_detector(detector, None if isinstance(detector, OneStageDetector) else size)


def onnx_runtime(detector: Detector, size: tuple[int, int]) -> Look:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export_onnx(detector, Path(folder) / "detector.onnx", size=size)
        session = onnxruntime.InferenceSession(path, options)
    return lambda pixels: session.run(None, {"picture": as_floats(pixels)})


def by_torch(detector: Detector, size: tuple[int, int]) -> Look:
    return lambda pixels: detector([torch.from_numpy(as_floats(pixels))])


def by_torch_at_once(detector: Detector, size: tuple[int, int]) -> Look:
    return lambda pixels: detector([torch.from_numpy(as_floats(pixels))] * PICTURES)


ENGINES = {"compiled": compiled, "onnxruntime": onnx_runtime, "torch": by_torch, f"torch ×{PICTURES}": by_torch_at_once}


def latency_ms(runs: dict[tuple[str, str], Look], pictures: Pictures, rounds: int) -> dict[tuple[str, str], float]:
    """The median of each, of a picture. Each looks at a picture twice, the second time counts: caches hold its own weights."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    with torch.inference_mode():
        for _ in range(rounds):
            for key, look in runs.items():
                for pixels in pictures:
                    look(pixels)
                    start = time.perf_counter()
                    look(pixels)
                    times[key].append(1e3 * (time.perf_counter() - start))
    at_once = {key: PICTURES if key[1].endswith(f"×{PICTURES}") else 1 for key in runs}
    return {key: float(np.median(own)) / at_once[key] for key, own in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--size", default="128x128", help="height × width of the picture")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--detector", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--two-stage", type=Path, metavar="FOLDER")
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--pictures", type=Path, metavar="DATA")
    parser.add_argument("--engines", default="compiled,onnxruntime,torch")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = parse_size(arguments.size)
    if arguments.pictures:
        shown = open_split(arguments.pictures, "test").pictures[:PICTURES]
        pictures = [np.array(read_picture(picture.path)) for picture in shown]
        size = (pictures[0].shape[0], pictures[0].shape[1])
    else:
        pictures = [np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)]
    if arguments.two_stage:
        detectors = {TWO_STAGES: load_detector(arguments.two_stage).eval()}
    else:
        fields = merge(*map(parse_setting, arguments.detector))
        detectors = {TWO_STAGES: random_detector(arguments.short_side, fields)}
    detectors |= {folder.name: load_detector(folder).eval() for folder in arguments.beside}
    engines = {name: ENGINES[name] for name in arguments.engines.split(",")}
    runs = {(of, name): make(detector, size) for of, detector in detectors.items() for name, make in engines.items()}
    medians = latency_ms(runs, pictures, arguments.rounds)
    for (of, engine), median in medians.items():
        line = f"{of:<14} {engine:<12} {median:8.3f} ms  {median / medians[of, next(iter(engines))]:5.2f}×"
        print(line if of == TWO_STAGES else f"{line}  {median / medians[TWO_STAGES, engine]:.3f} of {TWO_STAGES}'s")
    if arguments.output:
        table = {of: {engine: medians[of, engine] for engine in engines} for of in detectors}
        write_text(arguments.output, json.dumps({"latency_ms": table, "environment": environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
