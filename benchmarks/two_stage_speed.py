"""Faster R-CNN on 0.5× on one thread, the whole call from 8-bit pixels to boxes: compiled, ONNX Runtime and torch, in turn.

    python benchmarks/two_stage_speed.py [--short-side 128] [--size 128x128] [--rounds 20]

Weights are random; BN's statistics are those of noise, so that about as many regions are proposed as the detector allows. ONNX Runtime
runs the graph that `shufflenet detect export` writes.
"""

import argparse
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from shufflenet.cli.options import parse_size
from shufflenet.deploy.detector import compile_detector
from shufflenet.detection import Category, Detector, build_detector, detector_config, export_onnx

BACKBONE = {"name": "shufflenet_x0_5_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}


@torch.no_grad()
def random_detector(short_side: int) -> Detector:
    """Ten classes, the layout's usual numbers."""
    torch.manual_seed(0)
    named = tuple(Category(i, f"class {i}") for i in range(1, 11))
    detector = build_detector(detector_config(BACKBONE, named, layout="fpn", short_side=short_side))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    detector.train().backbone(torch.randn(4, 3, 64, 64))
    return detector.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--size", default="128x128", help="height × width of the picture")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = random_detector(arguments.short_side)
    size = parse_size(arguments.size)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    compiled = compile_detector(detector, size)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export_onnx(detector, Path(folder) / "detector.onnx", size=size)
        session = onnxruntime.InferenceSession(path, options)

    def planes() -> np.ndarray:
        return pixels.transpose(2, 0, 1).astype(np.float32) / 255

    engines = {
        "compiled": lambda: compiled(pixels),
        "onnxruntime": lambda: session.run(None, {"picture": planes()}),
        "torch": lambda: detector([torch.from_numpy(planes())]),
    }
    times: dict[str, list[float]] = {name: [] for name in engines}
    with torch.inference_mode():
        for _ in range(arguments.rounds + 2):
            for name, run in engines.items():
                start = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - start))
    medians = {name: float(np.median(own[2:])) for name, own in times.items()}
    for name, median in medians.items():
        print(f"{name:<12} {median:8.2f} ms  {median / medians['compiled']:5.2f}×")


if __name__ == "__main__":
    main()
