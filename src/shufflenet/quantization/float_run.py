"""A network that is to be quantized, run as the float32 network that it was."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx

from shufflenet.nets.integers import LearningLayer, Quantizer
from shufflenet.nets.quantized import QuantizedModule

Watch = Callable[[str, Tensor], None]


def _ignore(name: str, x: Tensor) -> None:
    pass


class FloatRun(fx.Interpreter):
    """`run(x)` gives the logits of the float32 network; the two callables see what enters each quantizer and each layer, by name."""

    def __init__(self, net: QuantizedModule, *, quantizer: Watch = _ignore, layer: Watch = _ignore) -> None:
        super().__init__(net.net)
        self.watch_quantizer, self.watch_layer = quantizer, layer

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, Quantizer):
            self.watch_quantizer(target.removeprefix("quantizers."), args[0])
            return args[0]
        if isinstance(module, LearningLayer):
            self.watch_layer(target, args[0])
            return module.layer(*args)
        return super().call_module(target, args, kwargs)
