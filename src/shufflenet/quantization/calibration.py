"""Which range of numbers each quantizer covers, from what a few hundred pictures show it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from shufflenet.checkpoints import Preprocessing
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.quantization.float_run import FloatRun

BINS = 2048
PICTURES_WITHIN = 0.99  # the share of pictures that a range is for: an odd picture in a hundred may be cut off
PERCENTILE = 0.9999
SHRINKAGES = torch.linspace(0.2, 1.0, 81)  # of the range, of which the one with the least squared error is taken


@dataclass(frozen=True)
class Seen:
    """What a tensor held: the least and the largest number of each picture, and how many lay in each of `BINS` equal parts of
    low … high, between which zero lies."""

    lows: Tensor
    highs: Tensor
    counts: Tensor

    @property
    def low(self) -> float:
        return min(0.0, float(self.lows.min()))

    @property
    def high(self) -> float:
        return max(0.0, float(self.highs.max()))

    @property
    def centres(self) -> Tensor:
        step = (self.high - self.low) / BINS
        return self.low + step * (torch.arange(BINS, dtype=torch.float64) + 0.5)


def whole_range(seen: Seen, steps: int) -> tuple[float, float]:
    """Nothing is cut off."""
    return seen.low, seen.high


def most_pictures_range(seen: Seen, steps: int) -> tuple[float, float]:
    """Nothing is cut off at either end in `PICTURES_WITHIN` of the pictures."""
    low, high = seen.lows.quantile(1 - PICTURES_WITHIN), seen.highs.quantile(PICTURES_WITHIN)
    return min(0.0, float(low)), max(0.0, float(high))


def percentile_range(seen: Seen, steps: int) -> tuple[float, float]:
    """As much is cut off at either end as leaves `PERCENTILE` of all numbers."""
    share = seen.counts.double().cumsum(0) / seen.counts.sum()
    cut = (1 - PERCENTILE) / 2
    first = int((share > cut).nonzero()[0])
    last = int((share >= 1 - cut).nonzero()[0])
    step = (seen.high - seen.low) / BINS
    return min(0.0, seen.low + first * step), max(0.0, seen.low + (last + 1) * step)


def least_error_range(seen: Seen, steps: int) -> tuple[float, float]:
    """The range, shrunk about zero, in which rounding and cutting off together have the least mean squared error."""
    low, high = (SHRINKAGES.double() * end for end in (seen.low, seen.high))
    scale = ((high - low) / steps)[:, None]
    x = seen.centres[None]
    nearest = ((x - low[:, None]) / scale).round().clamp(0, steps) * scale + low[:, None]
    best = int(((nearest - x).square() * seen.counts).sum(1).argmin())
    return float(low[best]), float(high[best])


CALIBRATIONS: dict[str, Callable[[Seen, int], tuple[float, float]]] = {
    "pictures": most_pictures_range,
    "minmax": whole_range,
    "percentile": percentile_range,
    "mse": least_error_range,
}


@torch.no_grad()
def calibrate(net: QuantizedModule, batches: Iterable[Tensor], preprocessing: Preprocessing, method: str) -> None:
    """Set the scales and zero points of a network in learning form from batches of inputs, which are walked twice.

    The input's range is that of bytes after `preprocessing`, whatever the pictures show.
    """
    extremes = _extremes(net, batches)
    watched = {name: Seen(*found, torch.zeros(BINS, dtype=torch.int64)) for name, found in extremes.items()}

    def count(name: str, x: Tensor) -> None:
        seen = watched[name]
        if seen.high > seen.low:
            seen.counts.add_(torch.histc(x, BINS, seen.low, seen.high).long())

    run = FloatRun(net, quantizer=count)
    for batch in batches:
        run.run(batch)
    entry = next(iter(net.quantizers()))
    for name, quantizer in net.quantizers().items():
        seen, steps = watched[name], quantizer.high - quantizer.low
        low, high = CALIBRATIONS[method](seen, steps)
        if name == entry and preprocessing.channel_order != "other":
            low, high = byte_range(preprocessing)
        elif low == high:
            low, high = 0.0, 1.0  # nothing but zeros
        scale = torch.tensor((high - low) / steps)
        quantizer.scale.copy_(scale)
        quantizer.zero_point.copy_(torch.tensor(quantizer.low - low / float(scale)).round())
    for name, layer in net.layers().items():
        layer.input_scale.copy_(net.quantizer_before(name).scale)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def _extremes(net: QuantizedModule, batches: Iterable[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The least and the largest number of each picture, wherever a quantizer runs."""
    lows: dict[str, list[Tensor]] = {name: [] for name in net.quantizers()}
    highs: dict[str, list[Tensor]] = {name: [] for name in net.quantizers()}
    for batch in batches:
        now: dict[str, list[Tensor]] = {name: [] for name in net.quantizers()}
        FloatRun(
            net, quantizer=lambda name, x, now=now: now[name].append(torch.stack(x.flatten(1).aminmax(dim=1)))
        ).run(batch)
        for name, places in now.items():
            all_places = torch.stack(places)
            lows[name].append(all_places[:, 0].amin(0))
            highs[name].append(all_places[:, 1].amax(0))
    return {name: (torch.cat(lows[name]), torch.cat(highs[name])) for name in lows}


def byte_range(preprocessing: Preprocessing) -> tuple[float, float]:
    """What the bytes 0 and 255 become, in the channels where that is least and most. One channel's bytes are then codes as they are."""
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    return min(0.0, *(-mean / std for mean, std in pairs)), max(0.0, *((1 - mean) / std for mean, std in pairs))
