"""Boxes of compiled detectors in tests: what makes them torchvision's, and machines that find them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflenet.compiler.c.boxes import boxes_program
from shufflenet.compiler.c.source import CSource
from shufflenet.compiler.run.build import FLAGS, write_source
from shufflenet.compiler.run.detector import BOX
from shufflenet.detection import build_detector

from ..compiler.native import RUN_IN_NODE

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-Wno-unused-function", "-ffp-contract=fast")


@torch.no_grad()
def settled(config, seed=0):
    """A one-stage detector whose scores are spread out, so that no two are equal but for rounding: BN's statistics are those of noise."""
    torch.manual_seed(seed)
    detector = build_detector(config)
    norms = [module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    detector.train()
    maps = detector.backbone(torch.randn(4, 3, *config.padded_size))
    detector.head(list(maps.values()))
    for parameter in detector.head.parameters():
        if parameter.ndim > 1:
            parameter.mul_(4)
    return detector.eval()


def torch_boxes(detector, pixels):
    with torch.inference_mode():
        return detector([torch.from_numpy(pixels).permute(2, 0, 1).float() / 255])[0]


def unmatched(boxes, scores, labels, others, least=0.05) -> list:
    """Boxes of a score above `least` that none of `others` equals within half a pixel and a thousandth of score."""
    missing = []
    for box, score, label in zip(boxes, scores, labels, strict=True):
        near = (others["label"] == label) & (np.abs(others["score"] - score) < 1e-3)
        if score > least and not (near & (np.abs(others["box"] - box).max(1, initial=0) < 0.5)).any():
            missing.append((box, score, label))
    return missing


def as_array(found: dict[str, torch.Tensor]) -> np.ndarray:
    """Boxes as torchvision gives them → as the C does."""
    boxes = np.zeros(len(found["boxes"]), BOX)
    for field, name in (("box", "boxes"), ("score", "scores"), ("label", "labels")):
        boxes[field] = found[name].numpy()
    return boxes


def assert_alike(ours: np.ndarray, theirs: dict[str, torch.Tensor], least: float = 0.051) -> None:
    """Each box of a score above `least` is among the others, too."""
    expected = as_array(theirs)
    assert not unmatched(expected["box"], expected["score"], expected["label"], ours, least)
    assert not unmatched(ours["box"], ours["score"], ours["label"], expected, least)
    assert (np.diff(ours["score"]) <= 0).all()


def assert_same(ours: np.ndarray, theirs: dict[str, torch.Tensor]) -> None:
    """The same number of boxes, and each above 0.05 alike."""
    assert len(ours) == len(theirs["boxes"])
    assert_alike(ours, theirs, 0.05)


MACHINES = {
    "sanitized": (["gcc"], ["-O1", "-g1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], ()),
    "one lane": (["gcc"], ["-O1", "-DLANES=1"], ()),
    "aarch64": (
        [sys.executable, "-m", "ziglang", "cc"], ["-target", "aarch64-linux-musl", "-static", "-O2"], ("qemu-aarch64",)
    ),
    "wasm32": (
        [sys.executable, "-m", "ziglang", "cc"], ["-target", "wasm32-wasi", "-mcpu=generic+simd128", "-O2"],
        ("node", "--no-warnings", "run.mjs"),
    ),
}  # fmt: skip


def find_on(machine: str, source: CSource, pictures: list[np.ndarray], folder: Path) -> Iterator[np.ndarray]:
    """What a source's main.c prints of each picture, built for and run on a machine; it must draw each, too."""
    compiler, flags, runner = MACHINES[machine]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    write_source(source, folder)
    (folder / "main.c").write_text(boxes_program(source))
    (folder / "run.mjs").write_text(RUN_IN_NODE)
    strict = [] if runner else STRICT
    file = f"{source.name}.c"
    subprocess.run([*compiler, *FLAGS, *flags, *strict, "main.c", file, "-o", "main"], cwd=folder, check=True)
    program = (*runner, "main") if runner and runner[0] == "node" else (*runner, "./main")
    for pixels in pictures:
        height, width = pixels.shape[:2]
        (folder / "picture.ppm").write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())
        done = subprocess.run(
            [*program, "picture.ppm", "found.ppm"], cwd=folder, capture_output=True, text=True, check=True
        )
        rows = np.array(done.stdout.split(), float).reshape(-1, 6)
        found = np.zeros(len(rows), BOX)
        found["label"], found["score"], found["box"] = rows[:, 0], rows[:, 1], rows[:, 2:]
        assert (folder / "found.ppm").stat().st_size == (folder / "picture.ppm").stat().st_size
        yield found
