"""The optimizer and its learning rate, a pure function of the iteration."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from shufflenet.training.recipe import Recipe


def scaled_learning_rate(recipe: Recipe) -> float:
    """The peak learning rate at the recipe's batch: linear in the batch (arXiv 1706.02677), unless told otherwise."""
    if recipe.learning_rate_batch_size is None:
        return recipe.learning_rate
    return recipe.learning_rate * recipe.batch_size / recipe.learning_rate_batch_size


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """The learning rate of iteration 0, 1, … of `iterations`. Without warm-up it begins at the peak; past the last it would be 0."""
    peak = scaled_learning_rate(recipe)
    if iteration < recipe.warmup_iterations:
        return peak * (iteration + 1) / (recipe.warmup_iterations + 1)
    progress = (iteration - recipe.warmup_iterations) / max(1, iterations - recipe.warmup_iterations)
    match recipe.schedule:
        case "linear":
            return peak * (1 - progress)
        case "cosine":
            return peak * (1 + math.cos(math.pi * progress)) / 2
        case "constant":
            return peak


def make_optimizer(recipe: Recipe, net: nn.Module) -> SGD:
    """SGD with Nesterov momentum over what is not frozen; weight decay only where a weight has more than one dimension."""
    learnable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in learnable if parameter.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [parameter for parameter in learnable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = scaled_learning_rate(recipe)
    # A recorded step reads its learning rate from the device; only the fused kernels do.
    recorded = {"lr": torch.tensor(rate, device=learnable[0].device), "fused": True}
    options: dict[str, Any] = recorded if recipe.cuda_graphs else {"lr": rate, "foreach": True}
    return SGD(groups, momentum=recipe.momentum, nesterov=recipe.momentum > 0, **options)


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
