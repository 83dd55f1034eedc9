"""Batch normalization over the batches of all processes, on any device (torch's own knows accelerators only)."""

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose mean and variance are those of all processes' batches together; alone, it is BatchNorm2d."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(input)
        x = input.float()  # sums of half-precision values lose too much
        count = torch.tensor(x.numel() / x.shape[1], device=x.device)
        torch.distributed.all_reduce(count)
        mean = all_reduce(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        self._note(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


def synchronize(net: nn.Module, wanted: bool = True) -> None:
    """Turn every BatchNorm2d of `net` into a SyncBatchNorm in place, or back: parameters, buffers and names stay."""
    for module in net.modules():
        if type(module) in (nn.BatchNorm2d, SyncBatchNorm):
            module.__class__ = SyncBatchNorm if wanted else nn.BatchNorm2d
