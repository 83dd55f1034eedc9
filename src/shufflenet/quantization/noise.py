"""Where integers cost most: the signal to quantization noise of each layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from shufflenet.nets.integers import LearningLayer
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.quantization.float_run import FloatRun


@dataclass(frozen=True)
class LayerNoise:
    """Signal to quantization noise of a layer's results, in dB: 10 log₁₀ (Σ y² / Σ (y − y_quantized)²).

    `alone_db` is the layer's own, its weights and its input rounded and all before it in float32; `together_db` is that in the network of
    integers, where the noise of all layers before it arrives too.
    """

    layer: str
    alone_db: float
    together_db: float


@torch.no_grad()
def layer_noise(net: QuantizedModule, batches: Iterable[Tensor]) -> list[LayerNoise]:
    """One row for each layer of a calibrated network in learning form, the noisiest alone first."""
    layers = net.layers()
    signal, alone, together = (dict.fromkeys(layers, 0.0) for _ in range(3))
    quantized: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        quantized[name] = output.clone()  # a ReLU may work in place

    def compare(name: str, x: Tensor) -> None:
        layer = layers[name]
        assert isinstance(layer, LearningLayer)
        y = layer.layer(x)
        signal[name] += float(y.square().sum())
        alone[name] += float((y - layer.forward(net.quantizer_before(name)(x))).square().sum())
        together[name] += float((y - quantized[name]).square().sum())

    for batch in batches:
        hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in layers.items()]
        net(batch)
        for hook in hooks:
            hook.remove()
        FloatRun(net, layer=compare).run(batch)
    rows = [LayerNoise(name, *(_decibels(signal[name], noise[name]) for noise in (alone, together))) for name in layers]
    return sorted(rows, key=lambda row: row.alone_db)


def _decibels(signal: float, noise: float) -> float:
    return 10 * float(torch.log10(torch.tensor(max(signal, 1e-30) / max(noise, 1e-30))))
