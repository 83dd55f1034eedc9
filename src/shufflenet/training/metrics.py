"""The figures of the iterations since the last look, kept on the device so that looking is what costs, not training."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


class RunningMeans:
    """Collects the loss and other figures of each iteration; `close` gives their means over iterations and processes."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.values: defaultdict[str, list[Tensor]] = defaultdict(list)

    def add(self, loss: Tensor, figures: Mapping[str, Tensor]) -> None:
        """Note one backward pass's figures."""
        for name, value in {"loss": loss.detach(), **figures}.items():
            self.values[name].append(value)

    def first_not_finite(self) -> int | None:
        """How many backward passes ago a loss was first not finite, on any process; 0 is the latest. None if all are finite."""
        bad = torch.stack(self.values["loss"]).float().isfinite().logical_not().float()
        total = self.accelerator.reduce(bad, reduction="sum")
        assert isinstance(total, Tensor)
        where = total.nonzero()
        return len(bad) - 1 - int(where[0]) if len(where) else None

    def close(self) -> dict[str, float]:
        """The means, and an empty window. A figure that is not finite comes out as such."""
        names = sorted(self.values)
        means = torch.stack([torch.stack(self.values[name]).float().mean() for name in names])
        means = self.accelerator.reduce(means, reduction="mean")
        assert isinstance(means, Tensor)
        self.values.clear()
        return dict(zip(names, means.tolist(), strict=True))
