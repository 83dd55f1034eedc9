"""One-stage detectors at 320×320 on one thread, the whole call from 8-bit pixels to boxes: compiled, ONNX Runtime, OpenVINO, torch.

    python benchmarks/detection_speed.py [--rounds 30] [--json]

Weights are random; the background's bias is such that one anchor in a hundred passes the score threshold, about as on real pictures. ONNX
Runtime and OpenVINO run the graph that `shufflenet detect export` writes, with resizing and non-maximum suppression in it. What finding
boxes takes is the difference to a twin whose threshold lets no anchor pass.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from shufflenet.compiler import compile_onnx
from shufflenet.deploy.detector import compile_detector
from shufflenet.deploy.detector_bench import _time_ms, bench_detector
from shufflenet.deploy.runtimes import onnxruntime, openvino
from shufflenet.detection import Category, OneStageConfig, build_detector
from shufflenet.detection.export import export_heads_onnx
from shufflenet.detection.one_stage import OneStageDetector

CHANNELS = {"shufflenet_x0_5_g3": 40, "shufflenet_x1_0_g3": 80}
ASKED = {"shufflenet_x0_5_g3": 1.8, "shufflenet_x1_0_g3": 1.4}
PASSING = 0.01  # of all anchors


@torch.no_grad()
def detector_of(variant: str, picture: torch.Tensor) -> OneStageDetector:
    """Random weights whose activations and scores are those of a trained network in size and number."""
    torch.manual_seed(0)
    shapes = ((2.8, 2.6), (3.3, 3.4), (4.4, 4.1))
    config = OneStageConfig(
        backbone={"name": variant, "num_classes": 1, "in_channels": 3, "stem": "imagenet"},
        categories=tuple(Category(number, name) for number, name in enumerate(("one", "two", "three"), 1)),
        strides=(8, 16, 32),
        anchors=tuple(tuple((stride * w, stride * h) for w, h in shapes) for stride in (8, 16, 32)),
        neck_channels=CHANNELS[variant],
    )
    detector = build_detector(config)
    assert isinstance(detector, OneStageDetector)
    norms = [module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = 1.0
    images, _ = detector.transform([picture])
    detector.train().head(list(detector.backbone(images.tensors.repeat(2, 1, 1, 1)).values()))
    detector.eval()
    logits = detector.head(list(detector.backbone(images.tensors).values()))["cls_logits"][0]
    above = logits[:, 1:].max(1).values - logits[:, 0]
    shift = float(above.quantile(1 - PASSING)) - float(np.log(config.score_threshold / (1 - config.score_threshold)))
    for module in detector.head.get_submodule("classification_head.module_list").children():
        last = module[-1]
        last.bias.view(-1, len(config.categories) + 1)[:, 0] += shift
    return detector


def network_ms(detector: OneStageDetector, rounds: int) -> dict[str, float]:
    """The network alone, a normalized picture in and the heads' numbers out: the median of each runtime, in turn."""
    picture = np.random.default_rng(0).standard_normal((1, 3, *detector.config.padded_size)).astype(np.float32)
    with TemporaryDirectory() as folder:
        path = export_heads_onnx(detector, Path(folder) / "heads.onnx")
        runs = {
            "compiled": compile_onnx(path).load(),
            "onnx": onnxruntime.load(path, 1),
            "openvino": openvino.load(path, 1),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(10 * rounds + 5):
            for name, run in runs.items():
                times[name].append(_time_ms(run, picture))
    return {name: float(np.median(ms[5:])) for name, ms in times.items()}


def measure(variant: str, rounds: int) -> dict:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(pixels).permute(2, 0, 1).float(), 9, 1, 4)
    pixels = smooth.permute(1, 2, 0).round().to(torch.uint8).numpy().copy()
    detector = detector_of(variant, torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    done = bench_detector(detector, pixels, rounds=rounds)
    ours = next(row for row in done.rows if row.engine == "compiled")
    detector.config = replace(detector.config, score_threshold=1.0)
    nothing = compile_detector(detector)
    detector.config = replace(detector.config, score_threshold=0.05)
    finding = compile_detector(detector)
    whole = [(_time_ms(finding, pixels), _time_ms(nothing, pixels)) for _ in range(20 * rounds)]
    with_boxes, without = np.min(whole, axis=0)
    ratios = {row.engine: row.median_ms / ours.median_ms for row in done.rows}
    best = min(ratios["onnx"], ratios["openvino"])
    return {
        **done.to_json(),
        "ratios": ratios,
        "asked": ASKED[variant],
        "reached": best >= ASKED[variant],
        "network_ms": network_ms(detector, rounds),
        "finding_boxes_share": float((with_boxes - without) / with_boxes),
        "rows": [asdict(row) for row in done.rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    records = [measure(variant, arguments.rounds) for variant in CHANNELS]
    if arguments.json:
        print(json.dumps(records, indent=2))
        return
    for record in records:
        print(
            f"{record['variant']}, 320×320, asked {record['asked']} times; boxes take {record['finding_boxes_share']:.1%}"
        )
        alone = ", ".join(f"{name} {ms:.2f} ms" for name, ms in record["network_ms"].items())
        print(f"  network alone: {alone}")
        for row in record["rows"]:
            ratio = record["ratios"][row["engine"]]
            print(
                f"  {row['title']:<14} {row['median_ms']:7.2f} ms  {ratio:5.2f}×  {row['boxes']} boxes, {row['matched']:.0%} of torch's"
            )


if __name__ == "__main__":
    main()
