"""What a network of integers computes: codes of one byte, in torch.

The meaning is that of compiler/graph/integers.py, so torch gives the bytes of the compiled C. A layer's sum is a whole number; one
product in float32 makes a code of it, ties go to the even code, and a residual joins the sum before that. Codes are u8 here; those of
s8 stand 128 further up. They are kept in float32, and so are sums of so few products that they stay below 2²⁴: any order of summation,
on any device, is exact then. What has no form on codes (some other papers' networks have such operations) is computed with the numbers
that codes stand for.
"""

import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from shufflenet.nets.integers import IntegerLayer, LearningLayer, Quantizer
from shufflenet.nets.same_padding import SameAvgPool2d, SameConv2d, same_padded
from shufflenet.nets.shufflenet import channel_shuffle

LARGEST_CODE = 255
LARGEST_FACTOR = 32767  # int16
LEAST_FACTOR = 255  # a smaller one, rounded, would be wrong by half a code of what it multiplies
LARGEST_SHIFT = 22
MOST_HALVINGS = 160
# So many products of a code and a weight add up to less than 2²⁴.
LARGEST_COUNT = 2**24 // (LARGEST_CODE * 128)

MOVES = {channel_shuffle, torch.flatten, Tensor.flatten, F.dropout, F.max_pool2d}
MOVING_MODULES = (nn.MaxPool2d, nn.Identity, nn.Dropout, nn.Flatten)
# What numbers are kept within, from 0 up.
RECTIFYING_MODULES: dict[type[nn.Module], float] = {nn.ReLU: math.inf, nn.ReLU6: 6.0}
RECTIFIES = {F.relu, torch.relu, Tensor.relu}
ADDS = {operator.add, operator.iadd, torch.add, Tensor.add}
MULTIPLIES = {operator.mul, operator.imul, torch.mul, Tensor.mul}
MEANS = {torch.mean, Tensor.mean}
SIGMOIDS = {torch.sigmoid, F.sigmoid, Tensor.sigmoid}


@dataclass(frozen=True)
class Codes:
    """`values` are whole numbers from 0 to 255, in float32; `quantizer` says what they stand for."""

    values: Tensor
    quantizer: Quantizer

    @property
    def centred(self) -> Tensor:
        """How far each is from the zero point."""
        return self.values - _zero(self.quantizer)

    @property
    def numbers(self) -> Tensor:
        return self.centred * self.quantizer.scale


@dataclass(frozen=True)
class Sums:
    """Whole numbers on their way to codes. Each stands for `unit` times itself; a mean's, for that over `count`.

    `most` is what a rectifier leaves at most; None where there is none.
    """

    totals: Tensor
    unit: Tensor
    count: Tensor | None = None
    most: float | None = None

    @property
    def numbers(self) -> Tensor:
        unit = self.unit if self.count is None else (self.unit.double() / self.count).float()
        numbers = self.totals.float() * unit
        return _rectified(numbers, self.most)

    def codes(self, quantizer: Quantizer) -> Codes:
        scale = self.unit / quantizer.scale
        if self.count is not None:
            scale = (self.unit.double() / (quantizer.scale.double() * self.count)).float()
        return _rounded(self.totals.float() * scale, quantizer, self.most)


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer with what enters it, not computed yet, since a residual may join its sums."""

    layer: IntegerLayer
    entering: Codes
    most: float | None = None

    @property
    def sums(self) -> Sums:
        totals = self.totals(self.layer.weight, self.layer.bias)
        unit = self.entering.quantizer.scale * self.layer.weight_scale
        return Sums(totals, _along_channels(unit, totals), most=self.most)

    def totals(self, weight: Tensor, bias: Tensor) -> Tensor:
        """int32."""
        totals = _whole(_products(self.layer.layer, self.entering.centred, weight.float()))
        return totals + _along_channels(bias, totals)

    @property
    def numbers(self) -> Tensor:
        return self.sums.numbers

    def codes(self, quantizer: Quantizer) -> Codes:
        return self.sums.codes(quantizer)


@dataclass(frozen=True)
class Branch:
    """The codes of a layer that nothing but an addition reads, not computed yet. `place` is that in the order of all layers."""

    made: Layer
    quantizer: Quantizer
    place: int

    @property
    def codes(self) -> Codes:
        return self.made.codes(self.quantizer)


@dataclass(frozen=True)
class Residual:
    """Two tensors of codes, to be added."""

    left: Codes | Branch
    right: Codes | Branch
    most: float | None = None

    @property
    def numbers(self) -> Tensor:
        numbers = _codes(self.left).numbers + _codes(self.right).numbers
        return _rectified(numbers, self.most)

    def codes(self, quantizer: Quantizer) -> Codes:
        """Within the sums of a layer, the later one if both are layers' codes; by themselves where no factor of 16 bits will do."""
        pairs = (self.left, self.right), (self.right, self.left)
        branches = [(own, other) for own, other in pairs if isinstance(own, Branch)]
        for own, other in sorted(branches, key=lambda pair: -pair[0].place):
            joined = _joined(own.made, _codes(other), quantizer, self.most)
            if joined is not None:
                return joined
        return _added(_codes(self.left), _codes(self.right), quantizer, self.most)


def joining(module: fx.GraphModule) -> list[str]:
    """The quantizers that round nothing, since a residual joins their layer's sums: what `Residual.codes` does, by name.

    `Residual` goes another way where no factor of 16 bits will do. That takes scales thousands of times apart, and is not foreseen here.
    """
    places = {node: place for place, node in enumerate(module.graph.nodes)}
    found = []
    for node in module.graph.nodes:
        if _operation(module, node) in ADDS and len(node.all_input_nodes) == 2 and _is_rounded(module, node):
            branches = [source for source in node.all_input_nodes if _is_branch(module, source)]
            found += [str(branch.target) for branch in sorted(branches, key=places.__getitem__)[-1:]]
    return found


def _operation(module: fx.GraphModule, node: fx.Node) -> Any:
    if node.op == "call_module":
        return module.get_submodule(str(node.target))
    return getattr(Tensor, str(node.target)) if node.op == "call_method" else node.target


def _is_branch(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether it is the quantizer of a layer and has one user."""
    if not isinstance(_operation(module, node), Quantizer) or len(node.users) > 1:
        return False
    return isinstance(_operation(module, node.all_input_nodes[0]), IntegerLayer | LearningLayer)


def _is_rounded(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a quantizer comes next, or behind a rectifier."""
    following = [_operation(module, user) for user in node.users]
    if len(following) == 1 and (type(following[0]) in RECTIFYING_MODULES or following[0] in RECTIFIES):
        return _is_rounded(module, next(iter(node.users)))
    return len(following) == 1 and isinstance(following[0], Quantizer)


class IntegerRun(fx.Interpreter):
    """`run(x)` gives the logits of a traced network whose layers hold integers, or whatever a traced module gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.places = {node: place for place, node in enumerate(module.graph.nodes)}

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        match n.op:
            case "output":
                return map_aggregate(args[0], _numbers)
            case "call_module":
                module = self.fetch_attr(str(n.target))
                if isinstance(module, Quantizer):
                    return self._quantized(n, args[0], module)
                return (
                    Layer(module, _codes(args[0])) if isinstance(module, IntegerLayer) else _apply(module, args, kwargs)
                )
            case "call_function":
                return _apply(n.target, args, kwargs)
            case "call_method":
                return _apply(getattr(Tensor, str(n.target)), args, kwargs)
        return super().run_node(n)

    def _quantized(self, n: fx.Node, value: Any, quantizer: Quantizer) -> Codes | Branch:
        if isinstance(value, Branch):
            value = value.codes
        if isinstance(value, Layer) and value.most is None and len(n.users) == 1 and next(iter(n.users)).target in ADDS:
            return Branch(value, quantizer, self.places[n])
        if isinstance(value, Codes) and value.quantizer is quantizer:
            return value
        if isinstance(value, Sums | Layer | Residual):
            return value.codes(quantizer)
        return _nearest(_numbers(value), quantizer)


def _apply(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation makes: codes or what becomes codes, where it has a form on codes, and numbers where not."""
    args = tuple(value.codes if isinstance(value, Branch) and operation not in ADDS else value for value in args)
    first: Any = args[0]
    if operation is torch.cat and all(isinstance(x, Codes) and x.quantizer is first[0].quantizer for x in first):
        return Codes(torch.cat([piece.values for piece in first], *args[1:], **kwargs), first[0].quantizer)
    others = [value for value in args[1:] if isinstance(value, Codes | Branch)]
    most = math.inf if operation in RECTIFIES else RECTIFYING_MODULES.get(type(operation))
    if most is not None:
        if isinstance(first, Codes):
            return replace(first, values=first.values.clamp(*_limits(first.quantizer, most)))
        return _rectified(first, most) if isinstance(first, Tensor) else replace(first, most=most)
    if operation in ADDS and isinstance(first, Codes | Branch) and others:
        return Residual(first, others[0])
    if operation in MULTIPLIES and isinstance(first, Codes) and others:
        other = _codes(others[0])
        return Sums(first.centred * other.centred, first.quantizer.scale * other.quantizer.scale)
    if isinstance(first, Codes):
        repeats = operation is F.interpolate and kwargs.get("mode", "nearest") == "nearest"
        if isinstance(operation, MOVING_MODULES) or operation in MOVES or repeats:
            moved = operation(first.centred, *args[1:], **kwargs)
            return Codes(moved + _zero(first.quantizer), first.quantizer)
        if isinstance(operation, nn.AvgPool2d) and not isinstance(operation, SameAvgPool2d):
            return _means(operation, first)
        if _is_global_mean(operation, args[1:], kwargs):
            totals = first.centred.int().sum((2, 3), keepdim=operation not in MEANS or kwargs.get("keepdim", False))
            count = torch.tensor(first.values.shape[2] * first.values.shape[3], device=totals.device)
            return Sums(totals, first.quantizer.scale, count)
        if operation in SIGMOIDS:
            every = Codes(torch.arange(LARGEST_CODE + 1.0, device=first.values.device), first.quantizer)
            return every.numbers.double().sigmoid().float()[first.values.int()]
    args, kwargs = map_aggregate((args, kwargs), _numbers)  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
    return operation(*args, **kwargs)


def _numbers(value: Any) -> Any:
    return _codes(value).numbers if isinstance(value, Codes | Branch | Sums | Layer | Residual) else value


def _codes(value: Any) -> Any:
    return value.codes if isinstance(value, Branch) else value


def _is_global_mean(operation: Any, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if operation in MEANS:
        return tuple(rest[0] if rest else kwargs.get("dim", ())) in ((2, 3), (-2, -1))
    size = operation.output_size if isinstance(operation, nn.AdaptiveAvgPool2d) else (*rest, None)[0]
    return (isinstance(operation, nn.AdaptiveAvgPool2d) or operation is F.adaptive_avg_pool2d) and size in (1, (1, 1))


def _zero(quantizer: Quantizer) -> Tensor:
    """The zero point of codes from 0 to 255."""
    return (quantizer.zero_point - quantizer.low).float()


def _along_channels(each: Tensor, like: Tensor) -> Tensor:
    """One number for each channel, beside [n, c, …]."""
    return each.reshape(-1, *[1] * (like.ndim - 2))


def _rectified(numbers: Tensor, most: float | None) -> Tensor:
    return numbers if most is None else numbers.clamp(0, most)


def _limits(quantizer: Quantizer, most: float | None) -> tuple[Tensor, Tensor]:
    """The least and the largest code that a rectifier leaves."""
    zero = _zero(quantizer)
    largest = torch.full_like(zero, LARGEST_CODE)
    if most is None:
        return torch.zeros_like(zero), largest
    return zero, torch.minimum(largest, (most * (1 / quantizer.scale)).round() + zero)


def _rounded(scaled: Tensor, quantizer: Quantizer, most: float | None) -> Codes:
    return Codes((scaled.round() + _zero(quantizer)).clamp(*_limits(quantizer, most)), quantizer)


def _nearest(numbers: Tensor, quantizer: Quantizer) -> Codes:
    """The code of each number, the least one for a NaN."""
    scaled = (numbers * (1 / quantizer.scale)).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    return _rounded(scaled, quantizer, None)


def _means(pool: nn.AvgPool2d, x: Codes) -> Sums:
    def add(planes: Tensor, padding: Any) -> Tensor:
        return F.avg_pool2d(planes, pool.kernel_size, pool.stride, padding, pool.ceil_mode, divisor_override=1)

    rows, columns = pool.padding if isinstance(pool.padding, tuple) else (pool.padding, pool.padding)
    there = torch.ones_like(x.values[:1, :1])
    there = F.pad(there, (columns, columns, rows, rows), value=float(pool.count_include_pad))
    return Sums(add(x.centred, pool.padding), x.quantizer.scale, add(there, 0))


def _products(layer: nn.Module, x: Tensor, weight: Tensor) -> Iterator[tuple[int, Tensor]]:
    """A layer's sums in parts, each with how many products it has: one for each tap of the kernel and each share of the channels."""
    if isinstance(layer, nn.Linear):
        for inputs, columns in zip(x.split(LARGEST_COUNT, 1), weight.split(LARGEST_COUNT, 1), strict=True):
            yield inputs.shape[1], inputs @ columns.T
        return
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    rows, columns = layer.padding
    x = same_padded(x) if isinstance(layer, SameConv2d) else F.pad(x, (columns, columns, rows, rows))
    reach = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    size = [(n - far - 1) // stride + 1 for n, far, stride in zip(x.shape[2:], reach, layer.stride, strict=True)]
    groups, depthwise = layer.groups, layer.groups == layer.in_channels == layer.out_channels
    for row, column in ((row, column) for row in range(layer.kernel_size[0]) for column in range(layer.kernel_size[1])):
        starts = row * layer.dilation[0], column * layer.dilation[1]
        window = [
            slice(start, start + stride * (n - 1) + 1, stride)
            for start, stride, n in zip(starts, layer.stride, size, strict=True)
        ]
        pixels, factors = x[:, :, *window], weight[..., row, column]
        if depthwise:
            yield 1, pixels * factors[..., None]
            continue
        pixels = pixels.reshape(len(x), groups, -1, size[0] * size[1])
        factors = factors.reshape(groups, layer.out_channels // groups, -1)
        for inputs, columns in zip(pixels.split(LARGEST_COUNT, 2), factors.split(LARGEST_COUNT, 2), strict=True):
            yield inputs.shape[2], (columns @ inputs).reshape(len(x), -1, *size)


def _whole(parts: Iterable[tuple[int, Tensor]]) -> Tensor:
    """The sum of all parts, int32: in float32 as long as that is exact."""
    whole, exact, products = None, None, 0
    for count, part in parts:
        if exact is None or products + count > LARGEST_COUNT:
            whole = exact if exact is None or whole is None else whole + exact
            whole = whole if whole is None else whole.int()
            exact, products = part, count
        else:
            exact, products = exact.add_(part), products + count
    assert exact is not None
    return exact.int() if whole is None else whole + exact.int()


def _joined(made: Layer, residual: Codes, quantizer: Quantizer, most: float | None) -> Codes | None:
    """Codes of a layer's sums with a residual in them: sum · 2^shift + factor · code. None where the factors do not fit.

    A channel whose weights are so small that its factor is too large takes coarser weights.
    """
    entering, layer, added = made.entering.quantizer.scale, made.layer, residual.quantizer.scale.double()
    weight, bias, weight_scale = layer.weight, layer.bias, layer.weight_scale
    needed = (added / (entering * weight_scale).double() / LARGEST_FACTOR).log2().ceil().nan_to_num()
    times = 2.0 ** needed.clamp(0, MOST_HALVINGS)
    if bool((times > 1).any()):
        weight = (weight / times.reshape(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8)
        bias = (bias / times).round().to(torch.int32)
        weight_scale = (weight_scale * times).float()
    largest = LARGEST_CODE * weight.long().abs().flatten(1).sum(1) + bias.long().abs()
    room = ((2**31 - 1 - 2 * LARGEST_CODE * LARGEST_FACTOR) / largest.clamp(min=1).double()).log2().floor()
    unit = entering * weight_scale
    ratio = added / unit.double()
    shifts = ((LEAST_FACTOR + 0.5) / ratio).log2().ceil().nan_to_num(0, 0, 0)
    shifts = torch.minimum(shifts, room.clamp(max=LARGEST_SHIFT)).clamp(min=0)
    factors = (ratio * 2.0**shifts).round()
    if not bool(((factors >= LEAST_FACTOR) & (factors <= LARGEST_FACTOR)).all()):
        return None
    totals = made.totals(weight, bias) << _along_channels(shifts.int(), residual.values)
    totals = totals + _along_channels(factors.int(), totals) * residual.centred.int()
    scale = unit / quantizer.scale * (2.0**-shifts).float()
    return _rounded(totals.float() * _along_channels(scale, totals), quantizer, most)


def _added(left: Codes, right: Codes, quantizer: Quantizer, most: float | None) -> Codes:
    """By a factor of 16 bits for each, and one shift."""
    ratios = [float(codes.quantizer.scale) / float(quantizer.scale) for codes in (left, right)]
    shift = 0
    while shift < LARGEST_SHIFT and round(max(ratios) * 2 ** (shift + 1)) <= LARGEST_FACTOR:
        shift += 1
    zero, half = int(_zero(quantizer)), (1 << shift) >> 1
    totals = torch.tensor((zero << shift) + half, dtype=torch.int32, device=left.values.device)
    for codes, ratio in zip((left, right), ratios, strict=True):
        totals = totals + codes.centred.int() * min(round(ratio * 2**shift), LARGEST_FACTOR)
    return Codes((totals >> shift).float().clamp(*_limits(quantizer, most)), quantizer)
