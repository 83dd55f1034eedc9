"""Networks with statistics that are not the initial ones, so that a mistake in any layer shows."""

import pytest
import torch
from torch import nn

torch.set_num_threads(1)


def _randomize(net: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        with torch.no_grad():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.5, 0.5)
            uniform(module.running_mean, -0.5, 0.5)
            uniform(module.running_var, 0.5, 2.0)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            spread = (3 / module.weight[0].numel()) ** 0.5
            uniform(module.weight, -spread, spread)
            if module.bias is not None:
                uniform(module.bias, -0.5, 0.5)
    return net.eval()


@pytest.fixture
def randomize():
    """Gives every weight and running statistic of a network a value of its own: `randomize(net, seed)`; in eval mode."""
    return _randomize
