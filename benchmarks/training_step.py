"""A training step of shufflenet_x1_0_g3 beside pytorchcv's shufflenet_g3_w1 stepped plainly: float32, 224×224, batch 16.

    python benchmarks/training_step.py [--threads 2] [--rounds 10] [--json]
    python benchmarks/training_step.py --batch-size 256 --mixed-precision bf16 --gpu
    python benchmarks/training_step.py --batch-size 256 --variant shufflenet_x0_25_g8 --size 32 --stem small --gpu

All are stepped in turn, so they see the same machine; the figures are ratios of the medians. "Plainly" is what a loop written in a
minute does: contiguous (NCHW) tensors, cross-entropy, SGD with momentum. Ours is the step of `shufflenet.training`: channels_last,
its parameter groups, denormals flushed to zero, its loop's other work included. `--gpu` adds our step with grouped layers as matrix
products, with the step recorded as a CUDA graph, and with both. pytorchcv's network takes 224×224 only, so for other sizes it is left out.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from shufflenet.nets import create
from shufflenet.training.captured_step import WARM_UP_STEPS, CapturedStep
from shufflenet.training.environment import environment
from shufflenet.training.freezing import training_mode
from shufflenet.training.grouped_products import use_grouped_products
from shufflenet.training.mixed_precision import keep_strided_depthwise
from shufflenet.training.optimizer import make_optimizer
from shufflenet.training.recipe import RECIPES, Recipe

CLASSES = 1000
# The first rounds allocate, choose algorithms, and record.
UNTIMED = WARM_UP_STEPS + 2
WAYS: dict[str, dict[str, Any]] = {
    "shufflenet": {},
    "matrix products": {"grouped_convolutions": "matrix_products"},
    "CUDA graph": {"cuda_graphs": True},
    "both": {"grouped_convolutions": "matrix_products", "cuda_graphs": True},
}


def plain_step(images: Tensor, labels: Tensor) -> Callable[[], None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytorchcv's own, about its escapes
        from pytorchcv.model_provider import get_model

    net = get_model("shufflenet_g3_w1").to(images.device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=4e-5)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step


def our_step(net: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> Callable[[], None]:
    accelerator = Accelerator(mixed_precision=recipe.mixed_precision)
    net = net.to(images.device).to(memory_format=torch.channels_last)
    if recipe.mixed_precision != "no":
        keep_strided_depthwise(net)
    use_grouped_products(net, recipe.grouped_convolutions == "matrix_products")
    ours = make_optimizer(
        net, 0.01, momentum=recipe.momentum, weight_decay=recipe.weight_decay, recorded=recipe.cuda_graphs
    )
    model, optimizer = accelerator.prepare(net, ours)

    def learn(batch: tuple[Tensor, Tensor]) -> Tensor:
        with accelerator.autocast():
            loss = functional.cross_entropy(model(batch[0]).float(), batch[1])
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    recorded = CapturedStep(learn) if recipe.cuda_graphs else learn

    def step() -> None:
        training_mode(net)
        with accelerator.accumulate(model):
            recorded((images.contiguous(memory_format=torch.channels_last), labels))

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
    parser.add_argument("--variant", default="shufflenet_x1_0_g3")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--stem", default="imagenet", choices=["imagenet", "small"])
    parser.add_argument("--gpu", action="store_true", help="our step in the ways that are for GPUs, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # for both: it is a setting of the process
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    images = torch.randn(options.batch_size, 3, options.size, options.size, device=device)
    labels = torch.randint(CLASSES, (options.batch_size,), device=device)
    # pytorchcv's network ends in a 7×7 pool.
    steps = {"pytorchcv": plain_step(images, labels)} if options.size == 224 else {}
    for name, fields in WAYS.items() if options.gpu else [("shufflenet", {})]:
        recipe = replace(RECIPES["paper"], mixed_precision=options.mixed_precision, **fields)
        steps[name] = our_step(create(options.variant, stem=options.stem), recipe, images, labels)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(options.rounds + UNTIMED):
        for name, step in steps.items():
            duration = seconds(step, synchronize, options.cpu_clock)
            if round_number >= UNTIMED:
                times[name].append(duration)
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    speeds = {name: options.batch_size / median for name, median in medians.items()}
    reference = next(iter(speeds))
    ratios = {name: speed / speeds[reference] for name, speed in speeds.items() if name != reference}
    if options.json:
        print(json.dumps({"images_per_second": speeds, "ratios": ratios, "environment": environment()}))
        return
    for name, speed in speeds.items():
        ratio = f"{ratios[name]:6.2f} × {reference}" if name in ratios else ""
        print(f"{name:16} {speed:8.1f} images/s {ratio}")


if __name__ == "__main__":
    main()
