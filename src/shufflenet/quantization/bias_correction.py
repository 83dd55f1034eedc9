"""Biases that undo what rounding shifts: each channel keeps its mean over some pictures (arXiv 1906.04721, section 4.2).

Rounded weights are a little too large here and too small there, which moves a channel's mean. A depthwise layer has nine weights a
channel, so little of it averages out.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from shufflenet.nets.integers import LearningLayer
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.quantization.float_run import FloatRun


class _Correction(fx.Interpreter):
    """Runs the rounded network once. Each layer is corrected as soon as it has run, and the layers behind it see it so."""

    def __init__(self, net: QuantizedModule, wanted: dict[str, Tensor]) -> None:
        super().__init__(net.net)
        self.wanted = wanted

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if not isinstance(module, LearningLayer):
            return super().call_module(target, args, kwargs)
        y = module(*args)
        shift = self.wanted[target] - _channel_means(y)
        assert module.layer.bias is not None
        module.layer.bias.data += shift
        return y + shift.reshape(-1, *[1] * (y.ndim - 2))


@torch.no_grad()
def correct_biases(net: QuantizedModule, batches: Iterable[Tensor], pictures: int) -> None:
    """Change the biases of a calibrated network in learning form, on the first `pictures` of `batches`, held in memory at once."""
    held: list[Tensor] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= pictures:
            break
    shown, layers = torch.cat(held)[:pictures], net.layers()
    wanted: dict[str, Tensor] = {}

    def watch(name: str, x: Tensor) -> None:
        layer = layers[name]
        assert isinstance(layer, LearningLayer)
        wanted[name] = _channel_means(layer.layer(x))

    FloatRun(net, layer=watch).run(shown)
    _Correction(net, wanted).run(shown)


def _channel_means(y: Tensor) -> Tensor:
    return y.transpose(0, 1).flatten(1).mean(1)
