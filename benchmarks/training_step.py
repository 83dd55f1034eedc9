"""A training step of shufflenet_x1_0_g3 beside pytorchcv's shufflenet_g3_w1 stepped plainly: float32, 224×224, batch 16.

    python benchmarks/training_step.py [--threads 2] [--rounds 10] [--json]

The two are stepped in turn, so both see the same machine; the figure is the ratio of the medians. "Plainly" is what a loop
written in a minute does: contiguous (NCHW) tensors, cross-entropy, SGD with momentum. Ours is the step of `shufflenet.training`:
channels_last, its parameter groups, denormals flushed to zero, its loop's other work included.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional

from shufflenet.nets import create
from shufflenet.training.environment import environment
from shufflenet.training.freezing import training_mode
from shufflenet.training.mixed_precision import keep_strided_depthwise
from shufflenet.training.optimizer import make_optimizer
from shufflenet.training.recipe import RECIPES

SIZE, CLASSES = 224, 1000


def plain_step(device: torch.device, batch_size: int) -> Callable[[], None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytorchcv's own, about its escapes
        from pytorchcv.model_provider import get_model

    net = get_model("shufflenet_g3_w1").to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=4e-5)
    images = torch.randn(batch_size, 3, SIZE, SIZE, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step


def our_step(device: torch.device, batch_size: int, mixed_precision: str) -> Callable[[], None]:
    recipe = RECIPES["paper"]
    accelerator = Accelerator(mixed_precision=mixed_precision)
    net: nn.Module = create("shufflenet_x1_0_g3").to(device).to(memory_format=torch.channels_last)
    if mixed_precision != "no":
        keep_strided_depthwise(net)
    optimizer = make_optimizer(recipe, net)
    model, prepared = accelerator.prepare(net, optimizer)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    images = torch.randn(batch_size, 3, SIZE, SIZE, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)

    def step() -> None:
        training_mode(net, recipe)
        with accelerator.accumulate(model):
            with accelerator.autocast():
                logits = model(images.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits.float(), labels)
            accelerator.backward(loss)
            prepared.step()
            prepared.zero_grad()

    return step


def seconds(step: Callable[[], None], synchronize: Callable[[], None], cpu_clock: bool) -> float:
    clock = time.process_time if cpu_clock else time.perf_counter
    synchronize()
    began = clock()
    step()
    synchronize()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--mixed-precision", default="no", choices=["no", "bf16", "fp16"], help="of our step")
    parser.add_argument(
        "--cpu-clock", action="store_true", help="count processor time, for a machine that is not quiet"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # for both: it is a setting of the process
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    steps = {
        "pytorchcv": plain_step(device, options.batch_size),
        "shufflenet": our_step(device, options.batch_size, options.mixed_precision),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(options.rounds + 2):
        for name, step in steps.items():
            duration = seconds(step, synchronize, options.cpu_clock)
            if round_number >= 2:  # the first ones allocate and choose algorithms
                times[name].append(duration)
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    speeds = {name: options.batch_size / median for name, median in medians.items()}
    ratio = speeds["shufflenet"] / speeds["pytorchcv"]
    if options.json:
        print(json.dumps({"images_per_second": speeds, "ratio": ratio, "environment": environment()}))
        return
    for name, speed in speeds.items():
        print(f"{name:12} {speed:7.1f} images/s")
    print(f"ratio        {ratio:7.2f}")


if __name__ == "__main__":
    main()
