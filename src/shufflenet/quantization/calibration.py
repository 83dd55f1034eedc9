"""Which range of numbers each quantizer covers, from what a few hundred pictures show it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shufflenet.checkpoints import Preprocessing
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.quantization.float_run import FloatRun

BINS = 2048
PERCENTILE = 0.9999
SHRINKAGES = torch.linspace(0.2, 1.0, 81)  # of the range, of which the one with the least squared error is taken


@dataclass(frozen=True)
class Histogram:
    """How many numbers lay in each of `BINS` equal parts of low … high; zero lies between them."""

    low: float
    high: float
    counts: Tensor

    @property
    def centres(self) -> Tensor:
        step = (self.high - self.low) / BINS
        return self.low + step * (torch.arange(BINS, dtype=torch.float64) + 0.5)


def whole_range(seen: Histogram, steps: int) -> tuple[float, float]:
    """Nothing is cut off."""
    return seen.low, seen.high


def percentile_range(seen: Histogram, steps: int) -> tuple[float, float]:
    """As much is cut off at either end as leaves `PERCENTILE` of all numbers."""
    share = seen.counts.double().cumsum(0) / seen.counts.sum()
    cut = (1 - PERCENTILE) / 2
    first = int((share > cut).nonzero()[0])
    last = int((share >= 1 - cut).nonzero()[0])
    step = (seen.high - seen.low) / BINS
    return min(0.0, seen.low + first * step), max(0.0, seen.low + (last + 1) * step)


def least_error_range(seen: Histogram, steps: int) -> tuple[float, float]:
    """The range, shrunk about zero, in which rounding and cutting off together have the least mean squared error."""
    low, high = (SHRINKAGES.double() * end for end in (seen.low, seen.high))
    scale = ((high - low) / steps)[:, None]
    x = seen.centres[None]
    nearest = ((x - low[:, None]) / scale).round().clamp(0, steps) * scale + low[:, None]
    best = int(((nearest - x).square() * seen.counts).sum(1).argmin())
    return float(low[best]), float(high[best])


CALIBRATIONS: dict[str, Callable[[Histogram, int], tuple[float, float]]] = {
    "minmax": whole_range,
    "percentile": percentile_range,
    "mse": least_error_range,
}


@dataclass
class _Watched:
    low: float = 0.0
    high: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.int64))


@torch.no_grad()
def calibrate(net: QuantizedModule, batches: Iterable[Tensor], preprocessing: Preprocessing, method: str) -> None:
    """Set the scales and zero points of a network in learning form from batches of inputs, which are walked twice.

    The input's range is that of bytes after `preprocessing`, whatever the pictures show.
    """
    watched = {name: _Watched() for name in net.quantizers()}

    def widen(name: str, x: Tensor) -> None:
        seen = watched[name]
        seen.low, seen.high = min(seen.low, float(x.min())), max(seen.high, float(x.max()))

    def count(name: str, x: Tensor) -> None:
        seen = watched[name]
        if seen.high > seen.low:
            seen.counts += torch.histc(x, BINS, seen.low, seen.high).long()

    for watch in (widen, count):
        run = FloatRun(net, quantizer=watch)
        for batch in batches:
            run.run(batch)
    entry = next(iter(net.quantizers()))
    for name, quantizer in net.quantizers().items():
        seen, steps = watched[name], quantizer.high - quantizer.low
        if name == entry and preprocessing.channel_order != "other":
            low, high = byte_range(preprocessing)
        elif seen.high > seen.low:
            low, high = CALIBRATIONS[method](Histogram(seen.low, seen.high, seen.counts), steps)
        else:
            low, high = 0.0, 1.0  # nothing but zeros
        scale = torch.tensor((high - low) / steps)
        quantizer.scale.copy_(scale)
        quantizer.zero_point.copy_(torch.tensor(quantizer.low - low / float(scale)).round())
    for name, layer in net.layers().items():
        layer.input_scale.copy_(net.quantizer_before(name).scale)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def byte_range(preprocessing: Preprocessing) -> tuple[float, float]:
    """What the bytes 0 and 255 become, in the channels where that is least and most. One channel's bytes are then codes as they are."""
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    return min(0.0, *(-mean / std for mean, std in pairs)), max(0.0, *((1 - mean) / std for mean, std in pairs))
