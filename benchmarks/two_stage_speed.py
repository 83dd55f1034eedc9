"""Faster R-CNN on 0.5× on one thread, the whole call from 8-bit pixels to boxes: compiled, ONNX Runtime and torch, in turn.

    python benchmarks/two_stage_speed.py [--short-side 128] [--size 128x128] [--rounds 20] [--detector FIELD=VALUE]… [--beside FOLDER]

Weights are random; BN's statistics are those of noise, so that about as many regions are proposed as the detector allows. ONNX Runtime
runs the graph that `shufflenet detect export` writes. `--detector` sets fields as `detect train` does. `--beside` names a one-stage
detector, which takes its turns too: each engine's share of the Faster R-CNN's time is printed.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch

from shufflenet.cli.options import parse_size
from shufflenet.deploy.detector import compile_detector
from shufflenet.detection import Category, Detector, build_detector, detector_config, export_onnx, load_detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.training.recipe import merge, parse_setting

BACKBONE = {"name": "shufflenet_x0_5_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}


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


def engines(detector: Detector, pixels: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Each looks at the picture once."""
    size = (pixels.shape[0], pixels.shape[1])
    compiled = compile_detector(detector, None if isinstance(detector, OneStageDetector) else size)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export_onnx(detector, Path(folder) / "detector.onnx", size=size)
        session = onnxruntime.InferenceSession(path, options)

    def planes() -> np.ndarray:
        return pixels.transpose(2, 0, 1).astype(np.float32) / 255

    return {
        "compiled": lambda: compiled(pixels),
        "onnxruntime": lambda: session.run(None, {"picture": planes()}),
        "torch": lambda: detector([torch.from_numpy(planes())]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--size", default="128x128", help="height × width of the picture")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--detector", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--beside", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fields = merge(*map(parse_setting, arguments.detector))
    pixels = np.random.default_rng(0).integers(0, 256, (*parse_size(arguments.size), 3), dtype=np.uint8)
    detectors = {"fpn": random_detector(arguments.short_side, fields)}
    if arguments.beside:
        detectors["beside"] = load_detector(arguments.beside).eval()
    runs = {
        (name, engine): run for name, detector in detectors.items() for engine, run in engines(detector, pixels).items()
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    with torch.inference_mode():
        for _ in range(arguments.rounds + 2):
            for key, run in runs.items():
                start = time.perf_counter()
                run()
                times[key].append(1e3 * (time.perf_counter() - start))
    medians = {key: float(np.median(own[2:])) for key, own in times.items()}
    for (name, engine), median in medians.items():
        line = f"{name:<7}{engine:<12} {median:8.3f} ms  {median / medians[name, 'compiled']:5.2f}×"
        if name == "beside":
            line += f"  {median / medians['fpn', engine]:.3f} of the Faster R-CNN's"
        print(line)


if __name__ == "__main__":
    main()
