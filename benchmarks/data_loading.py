"""Images per second and core: our training inputs beside torchvision's ImageFolder with RandomResizedCrop, in one process.

    python benchmarks/data_loading.py [--folder CLASS_FOLDERS] [--size 500x375] [--rounds 15] [--json]

Both read the same JPEG files, crop 8 to 100% of the area to 224×224, flip, and give a normalised float32 tensor; then the same with
colours varied, by torchvision's ColorJitter and by the paper's jitter and lighting noise. All take turns, round by round, and are
timed in CPU time of the one thread, so the ratios hold on a busy machine too. Without --folder, the pictures are made here,
with the spectrum of photographs, at JPEG quality 90.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from shufflenet.checkpoints import IMAGENET
from shufflenet.data import PAPER, Augmentation, augment, open_dataset

PICTURES = 64
THEIRS, OURS = "torchvision's ImageFolder", "ours"
THEIRS_COLORS, OURS_COLORS = "torchvision's, with ColorJitter", "ours, with the paper's colours"
REFERENCES = {THEIRS: THEIRS, OURS: THEIRS, THEIRS_COLORS: THEIRS_COLORS, OURS_COLORS: THEIRS_COLORS}


def make_pictures(folder: Path, width: int, height: int) -> None:
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    (folder / "noise").mkdir()
    for number in range(PICTURES):
        spectrum = random.normal(size=(3, *frequency.shape)) + 1j * random.normal(size=(3, *frequency.shape))
        spectrum[1:] = spectrum[:1] + 0.3 * spectrum[1:]  # the colours of a photograph go together
        values = np.fft.irfft2(spectrum / frequency**1.2, s=(height, width))
        values = 120 + 55 * (values - values.mean()) / values.std()
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
        picture.save(folder / "noise" / f"{number:03d}.jpg", quality=90)


def pipelines(folder: Path) -> dict[str, Callable[[int], object]]:
    """From a picture's number to its tensor, each way."""
    pictures = open_dataset(folder, "train")
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    tensor = [transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.std)]
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4)
    return {
        THEIRS: ImageFolder(str(folder), transforms.Compose([*crop, *tensor])).__getitem__,
        OURS: augment(pictures, IMAGENET, Augmentation(color_jitter=0.0, lighting=0.0)).__getitem__,
        THEIRS_COLORS: ImageFolder(str(folder), transforms.Compose([*crop, jitter, *tensor])).__getitem__,
        OURS_COLORS: augment(pictures, IMAGENET, PAPER).__getitem__,
    }


def seconds_per_picture(pipeline: Callable[[int], object], pictures: int) -> float:
    start = time.thread_time()
    for index in range(pictures):
        pipeline(index)
    return (time.thread_time() - start) / pictures


def measure(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Images per second (the median round) and how many times torchvision's (the median of the rounds' ratios)."""
    ways = pipelines(folder)
    pictures = min(PICTURES, len(open_dataset(folder, "train")))
    for way in ways.values():
        seconds_per_picture(way, pictures)  # warms caches
    times = [{name: seconds_per_picture(way, pictures) for name, way in ways.items()} for _ in range(rounds)]
    return {
        name: {
            "images_per_second": 1 / statistics.median(round_[name] for round_ in times),
            "ratio": statistics.median(round_[REFERENCES[name]] / round_[name] for round_ in times),
        }
        for name in ways
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="class folders of JPEGs to read in place of made pictures")
    parser.add_argument("--size", default="500x375", help="width x height of the made pictures")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.folder is None:
            make_pictures(folder, *map(int, arguments.size.split("x")))
        results = measure(folder, arguments.rounds)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'':32}{'images/s a core':>16}{'ratio':>8}")
    for name, result in results.items():
        print(f"{name:32}{result['images_per_second']:16.0f}{result['ratio']:8.2f}")


if __name__ == "__main__":
    main()
