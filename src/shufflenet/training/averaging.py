"""Statistics of weights and of activations that are taken beside the training itself."""

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def warmed_up(decay: float, updates: int) -> float:
    """The average's decay after so many updates: it rises to `decay`, so the random weights of the start are soon forgotten.

    The rule is that of TensorFlow's ExponentialMovingAverage.
    """
    return min(decay, (1 + updates) / (10 + updates))


def make_average(net: nn.Module, decay: float | None) -> AveragedModel | None:
    """The running average of the weights; BN's statistics are those of the average's own age, so they are averaged with them."""
    if decay is None:
        return None

    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(warmed_up(decay, int(updates)))(averages, weights, updates)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)


@torch.no_grad()
def reestimate_batch_norm(net: nn.Module, batches: Iterable[Tensor], accelerator: Accelerator) -> None:
    """Take BN's statistics anew: the plain mean over `batches` (this process's share of them), then over the processes."""
    layers = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    net.train()
    for images in batches:
        net(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        for statistic in (layer.running_mean, layer.running_var):
            assert statistic is not None
            mean = accelerator.reduce(statistic, reduction="mean")
            assert isinstance(mean, Tensor)
            statistic.copy_(mean)
