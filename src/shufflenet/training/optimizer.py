"""The optimizer and its learning rate, a pure function of the iteration."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from shufflenet.training.recipe import Schedule


@dataclass(frozen=True)
class LearningRate:
    """The rate of each iteration: it rises to `peak` over `warmup_iterations`, then falls as the schedule says until `iterations`."""

    peak: float
    schedule: Schedule
    warmup_iterations: int
    iterations: int

    def at(self, iteration: int) -> float:
        """The rate of iteration 0, 1, …. Without warm-up it begins at the peak; past the last it would be 0."""
        if iteration < self.warmup_iterations:
            return self.peak * (iteration + 1) / (self.warmup_iterations + 1)
        progress = (iteration - self.warmup_iterations) / max(1, self.iterations - self.warmup_iterations)
        match self.schedule:
            case "linear":
                return self.peak * (1 - progress)
            case "cosine":
                return self.peak * (1 + math.cos(math.pi * progress)) / 2
            case "constant":
                return self.peak


def make_optimizer(net: nn.Module, rate: float, *, momentum: float, weight_decay: float, recorded: bool = False) -> SGD:
    """SGD with Nesterov momentum over what is not frozen; weight decay only where a weight has more than one dimension.

    `recorded`: the step is to be recorded by CUDA, and reads its learning rate from the device; only the fused kernels do.
    """
    learnable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in learnable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in learnable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    on_device = {"lr": torch.tensor(rate, device=learnable[0].device), "fused": True}
    options: dict[str, Any] = on_device if recorded else {"lr": rate, "foreach": True}
    return SGD(groups, momentum=momentum, nesterov=momentum > 0, **options)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """The rate of the next step; one that lies on the device stays in its place there."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a checkpoint's state, but leave learning rates where they lie: they follow from the iteration."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
