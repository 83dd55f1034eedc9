"""A detector's mAP on its test pictures, by torch and compiled to C, in float32 and in int8; and what a picture takes.

    python benchmarks/detection_accuracy.py FOLDER DATA [--beside FOLDER] [-o RECORD.json]

FOLDER is a one-stage detector that `shufflenet detect train` wrote, DATA its data set: the training part calibrates the integers, the test
part is looked at. `--beside` names a detector whose time per picture is compared, such as a Faster R-CNN. Times are of one thread, from
the 8-bit pixels of a picture to its boxes, all detectors in turn on the first test pictures.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shufflenet.atomic import write_text
from shufflenet.data.pictures import read_picture
from shufflenet.deploy.detector import compile_detector, compiled_finder
from shufflenet.detection import Annotations, Detector, load_detector, open_split
from shufflenet.detection.evaluate import detect, score
from shufflenet.quantization import calibrated_detector
from shufflenet.quantization.report import stored_bytes
from shufflenet.training.environment import environment

TIMED_PICTURES, ROUNDS = 5, 40
MOST_APART, MOST_LOST = 0.001, 0.01  # of mAP: between engines, and by integers


def figures(detector: Detector, pictures: Annotations) -> dict[str, Any]:
    """COCO's figures, from 0 to 1, by torch and compiled."""
    found = {}
    for engine, find in (("torch", None), ("compiled", compiled_finder(detector))):
        scores = score(pictures, detect(detector, pictures, find=find))
        found[engine] = {
            "average_precision": scores.average_precision,
            "average_precision_50": scores.average_precision_50,
        }
    apart = abs(found["torch"]["average_precision"] - found["compiled"]["average_precision"])
    return {**found, "engines_apart": apart, "bytes": stored_bytes(detector)}


def latency_ms(detectors: dict[str, Detector], pictures: Annotations) -> dict[str, float]:
    """The median of each, compiled, in turn."""
    files = [picture.path for picture in pictures.pictures[:TIMED_PICTURES]]
    pixels = [np.array(read_picture(file)) for file in files]
    height, width = pixels[0].shape[:2]
    sizes = {name: None if d.config.layout == "ssdlite" else (height, width) for name, d in detectors.items()}
    finds = {name: compile_detector(detector, sizes[name]) for name, detector in detectors.items()}
    times: dict[str, list[float]] = {name: [] for name in finds}
    for _ in range(ROUNDS):
        for name, find in finds.items():
            for picture in pixels:
                find(picture)
                start = time.perf_counter()
                find(picture)
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(own)) for name, own in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    float32 = load_detector(arguments.folder)
    test_set = open_split(arguments.data, "test")
    int8 = calibrated_detector(float32, open_split(arguments.data, "train")).integers()
    detectors: dict[str, Detector] = {"float32": float32, "int8": int8}
    record: dict[str, Any] = {
        "variant": float32.config.backbone["name"],
        "pictures": len(test_set.pictures),
        **{name: figures(detector, test_set) for name, detector in detectors.items()},
    }
    if arguments.beside:
        detectors["beside"] = load_detector(arguments.beside)
    record["latency_ms"] = latency_ms(detectors, test_set)
    record["environment"] = environment()
    for name in ("float32", "int8"):
        row = record[name]
        torchs, compiled = (100 * row[engine]["average_precision"] for engine in ("torch", "compiled"))
        print(f"{name:8} mAP {torchs:.2f} by torch, {compiled:.2f} compiled, {row['bytes']:,} bytes")
    for name, ms in record["latency_ms"].items():
        print(f"{name:8} {ms:.3f} ms a picture, {record['latency_ms']['float32'] / ms:.2f} times as fast as float32")
    lost = record["float32"]["torch"]["average_precision"] - record["int8"]["compiled"]["average_precision"]
    print(f"the integers lose {100 * lost:.2f} points")
    if arguments.output:
        write_text(arguments.output, json.dumps(record, indent=2) + "\n")
    assert max(record[name]["engines_apart"] for name in ("float32", "int8")) <= MOST_APART, "engines differ"
    assert lost <= MOST_LOST, "the integers lose too much"


if __name__ == "__main__":
    main()
