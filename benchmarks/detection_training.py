"""A training step of the one-stage layout at 320×320 beside torchvision's ssdlite320_mobilenet_v3_large, both from random weights.

    python benchmarks/detection_training.py [--batch 8] [--rounds 8] [--threads 2] [--json]

Both see the same pictures and boxes, forward, backward and a step of SGD, in turn in one process; images/s are of the median step.
"""

import argparse
import json
import platform
import time

import numpy as np
import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from shufflenet.detection import Category, OneStageConfig, build_detector

CLASSES = 3


def ours() -> torch.nn.Module:
    """ShuffleNet 0.5× with SSDLite's heads on strides 8, 16 and 32."""
    shapes = ((2.8, 2.6), (3.3, 3.4), (4.4, 4.1))
    return build_detector(
        OneStageConfig(
            backbone={"name": "shufflenet_x0_5_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"},
            categories=tuple(Category(number, str(number)) for number in range(1, CLASSES + 1)),
            strides=(8, 16, 32),
            anchors=tuple(tuple((stride * w, stride * h) for w, h in shapes) for stride in (8, 16, 32)),
            neck_channels=40,
        )
    )


def theirs() -> torch.nn.Module:
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1)


def batch_of(count: int) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Pictures of 320×320 with a dozen boxes each."""
    random = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, 320, 320, generator=random) for _ in range(count)]
    targets = []
    for _ in range(count):
        corners = torch.rand(12, 2, generator=random) * 220
        sides = 20 + torch.rand(12, 2, generator=random) * 80
        labels = torch.randint(1, CLASSES + 1, (12,), generator=random)
        targets.append({"boxes": torch.cat((corners, corners + sides), 1), "labels": labels})
    return pictures, targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)  # as the training loop does
    batch = batch_of(arguments.batch)
    detectors = {"shufflenet_x0_5_g3 ssdlite": ours(), "ssdlite320_mobilenet_v3_large": theirs()}
    steps = {}
    for name, detector in detectors.items():
        detector.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        steps[name] = (detector, torch.optim.SGD(detector.parameters(), 0.01, momentum=0.9))
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds + 1):
        for name, (detector, optimizer) in steps.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.mixed_precision == "bf16"):
                loss = sum(detector(*batch).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
            optimizer.step()
            seconds[name].append(time.perf_counter() - start)
    rates = {name: arguments.batch / float(np.median(times[1:])) for name, times in seconds.items()}
    mine, other = rates.values()
    record = {
        "images_per_second": rates,
        "ratio": mine / other,
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    if arguments.json:
        print(json.dumps({**record, "machine": platform.processor() or platform.machine()}, indent=2))
        return
    for name, rate in rates.items():
        print(f"{name:<32} {rate:6.1f} images/s")
    print(f"{mine / other:.2f} times torchvision's (1.5 asked), {mine:.1f} images/s (12 asked)")


if __name__ == "__main__":
    main()
