"""Layers with 8-bit integers, in real numbers: those that QuantizeLinear and DequantizeLinear of ONNX give. codes.py has the integers' own.

A tensor of activations has one scale and one zero point, and stands for scale · (code − zero_point) with codes of an element (`ELEMENTS`).
Weights are s8 with a scale for each output channel and no zero point; a bias is int32 at the scale of its layer's sums.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What an activation's element can hold: its smallest and largest code.
ELEMENTS: dict[str, tuple[int, int]] = {"u8": (0, 255), "s8": (-128, 127)}
LARGEST_WEIGHT = 127  # −128 is left out, so a weight and its negative are equally exact
LARGEST_BIAS = 2**30  # leaves room for a layer's sum in 32 bits


@torch.library.custom_op("shufflenet::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """The nearest of the numbers scale · (code − zero_point), ties to the even code. The gradient passes where x is within their range.

    scale and zero_point are scalars. Written out, since torch's own multiplies by 1 / scale, which rounds some ties another way.
    """
    codes = torch.div(x, scale).round_().add_(zero_point).clamp_(low, high)
    return codes.sub_(zero_point).mul_(scale)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _remember(ctx, inputs, output) -> None:
    x, scale, zero_point, low, high = inputs
    smallest, largest = (low - zero_point) * scale, (high - zero_point) * scale
    ctx.save_for_backward((x >= smallest) & (x <= largest))


def _pass_within_range(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
    (within,) = ctx.saved_tensors
    return gradient * within, None, None, None, None


fake_quantize.register_autograd(_pass_within_range, setup_context=_remember)


@torch.library.custom_op("shufflenet::dequantize", mutates_args=())
def dequantize(codes: Tensor, scale: Tensor) -> Tensor:
    """scale · codes, float32; one scale for each index of the first axis."""
    return codes.float().mul_(scale.reshape(-1, *[1] * (codes.ndim - 1)))


@dequantize.register_fake
def _(codes: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(codes, dtype=torch.float32)


class Quantizer(nn.Module):
    """x → the nearest number that the element can say at `scale` and `zero_point`."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, element: str) -> None:
        super().__init__()
        self.low, self.high = ELEMENTS[element]
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        return fake_quantize(x, self.scale, self.zero_point, self.low, self.high)


class JoiningQuantizer(Quantizer):
    """That of a branch which a residual joins before anything is rounded. Only an exported file rounds here, and needs the scale."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def _run(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    assert isinstance(layer, nn.Conv2d)
    return layer._conv_forward(x, weight, bias)


class LearningLayer(nn.Module):
    """A layer with float weights that computes with what they will be as integers; gradients pass straight through."""

    input_scale: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros_like(layer.weight[:, 0].flatten(1)[:, 0]))
        self.layer = layer
        self.register_buffer("input_scale", torch.ones(()))

    def integers(self) -> dict[str, Tensor]:
        """weight and bias as int8 and int32, and their scales.

        A channel whose bias is far above its weights (batch normalization has silenced it) takes a larger scale, so that the bias fits.
        """
        assert self.layer.bias is not None
        weight, bias = self.layer.weight.detach(), self.layer.bias.detach().double()
        largest = weight.flatten(1).abs().amax(1) / LARGEST_WEIGHT
        needed = (bias.abs() / (LARGEST_BIAS * self.input_scale)).float()
        weight_scale = torch.maximum(largest, needed).clamp(min=2.0**-40)
        bias_scale = weight_scale * self.input_scale
        codes = (weight / weight_scale.reshape(-1, *[1] * (weight.ndim - 1))).round()
        return {
            "weight": codes.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT).to(torch.int8),
            "weight_scale": weight_scale,
            "bias": (bias / bias_scale.double()).round().to(torch.int32),
            "bias_scale": bias_scale,
        }

    def forward(self, x: Tensor) -> Tensor:
        held = self.integers()
        weight, bias = self.layer.weight, self.layer.bias
        weight = weight + (dequantize(held["weight"], held["weight_scale"]) - weight).detach()
        bias = bias + (dequantize(held["bias"], held["bias_scale"]) - bias).detach()
        return _run(self.layer, x, weight, bias)


class IntegerLayer(nn.Module):
    """A convolution or linear layer that holds integers: weight int8, bias int32, and a scale of both for each output channel."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor
    bias_scale: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        shape, channels = layer.weight.shape, len(layer.weight)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels, dtype=torch.int32))
        self.register_buffer("bias_scale", torch.ones(channels))
        layer.weight = layer.bias = None  # pyright: ignore[reportAttributeAccessIssue]
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        weight = dequantize(self.weight, self.weight_scale)
        return _run(self.layer, x, weight, dequantize(self.bias, self.bias_scale))
