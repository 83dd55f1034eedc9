"""The compiler's one data structure: a graph of operations on planes.

A `Tensor` is a stack of equal planes of numbers, one a channel; batch is always 1. An operation reads and writes tensors through
a `View`, which says for each channel the plane it lives in. That is how a channel shuffle, a concatenation, a slice or a split
costs nothing: they are no operations at all, only other lists of planes. Several operations may write one tensor, each plane once.

The meaning of every operation is its docstring here and the few lines of numpy in reference.py. `verify.verify` holds a graph
to the rules that every pass relies on, and is run after each.

After simplify, moreover: no channel is moved but by a Copy, and those are rare (a network's input in a concatenation); a tensor
that a convolution reads has its planes in the order in which the convolution wants them, wherever one order suits all that read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import groupby
from types import MappingProxyType
from typing import Literal

import numpy as np

from shufflenet.compiler.graph.elements import ELEMENTS, FLOAT16, FLOAT32, Element

Pair = tuple[int, int]  # height, width
Padding = tuple[int, int, int, int]  # top, left, bottom, right
Batch = int | Literal["stacked", "mixed"]
Shape = tuple[int, ...]
ElementType = Literal["float32", "float16", "uint8"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """What codes of one byte stand for: code q is the number (q − zero_point) · scale. `scale` is a float32 number."""

    scale: float
    zero_point: int

    def __str__(self) -> str:
        return f"(q − {self.zero_point}) · {self.scale:g}"


@dataclass(frozen=True, slots=True)
class Tensor:
    """`channels` planes of `height` × `width` numbers; a vector of n numbers is n planes of 1 × 1.

    A uint8 tensor holds codes, and its quantization says of which numbers; a float32 or float16 tensor has none.
    """

    name: str
    channels: int
    height: int
    width: int
    dtype: ElementType = "float32"
    quantization: Quantization | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def element(self) -> Element:
        return ELEMENTS[self.dtype]

    @property
    def bytes(self) -> int:
        """Of all numbers, without anything between them."""
        return self.channels * self.height * self.width * self.element.bytes

    @property
    def whole(self) -> "View":
        """All planes in order."""
        return View(self.name, tuple(range(self.channels)))


@dataclass(frozen=True, slots=True)
class View:
    """Channel c of an operand is plane `planes[c]` of `tensor`. Written views name a plane once; read views may repeat one."""

    tensor: str
    planes: tuple[int, ...]

    @property
    def channels(self) -> int:
        return len(self.planes)

    @property
    def is_contiguous(self) -> bool:
        """Whether the planes follow one another in memory, in order."""
        return self.planes == tuple(range(self.planes[0], self.planes[0] + len(self.planes)))

    def select(self, channels: "tuple[int, ...] | range") -> "View":
        """The view of these channels of this view."""
        return View(self.tensor, tuple(self.planes[c] for c in channels))

    def __str__(self) -> str:
        return f"{self.tensor}[{', '.join(_runs(self.planes))}]"


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of one number. A NaN stays a NaN in all of them.

    | kind         | value                                                   |
    |--------------|---------------------------------------------------------|
    | relu         | max(x, 0)                                               |
    | clip         | min(max(x, alpha), beta); alpha or beta may be infinite |
    | leaky_relu   | x where x ≥ 0, alpha · x elsewhere                      |
    | sigmoid      | 1 / (1 + exp(−x))                                       |
    | hard_sigmoid | min(max(alpha · x + beta, 0), 1)                        |
    | hard_swish   | x · min(max(x / 6 + 1/2, 0), 1)                         |
    """

    kind: Literal["relu", "clip", "leaky_relu", "sigmoid", "hard_sigmoid", "hard_swish"]
    alpha: float = 0.0
    beta: float = 0.0

    def __str__(self) -> str:
        parameters = {
            "clip": (self.alpha, self.beta),
            "leaky_relu": (self.alpha,),
            "hard_sigmoid": (self.alpha, self.beta),
        }
        return self.kind + "".join(f" {p:g}" for p in parameters.get(self.kind, ()))


RELU = Activation("relu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One step. `name` is the ONNX value that `output` holds, or is derived from it; no two operations share one."""

    name: str
    output: View

    @property
    def inputs(self) -> tuple[View, ...]:
        """Every view that is read, in the order of the fields."""
        found: list[View] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name != "output" and isinstance(value, View):
                found.append(value)
            elif f.name == "pieces":
                found.extend(value)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Convolution(Operation):
    """activation(convolution(input) + bias + addend), padded with zeros.

    `weight` names a constant (output channels, input channels / groups, kernel height, kernel width), `bias` one of (output
    channels,). `addend`, a residual, has the output's shape; it is added before the activation. A fully connected layer on C
    planes of H × W is the convolution whose kernel is H × W; a scale and shift of each channel is a depthwise one of 1 × 1.

    `weight_scale` names a constant (output channels,): weights are whole multiples of it, none further than 128 from 0. Where the
    input is codes, the weights are codes too (int8) and the bias is int32, in units of the input's scale times the weight's; an
    addend's codes are brought to those units by int16 factors, so the sum is rounded once.
    """

    input: View
    weight: str
    bias: str | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    addend: View | None = None
    activation: Activation | None = None
    weight_scale: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(Operation):
    """activation(largest or mean value of a window), plane by plane.

    The output's size is given by its tensor: in ceil mode the last windows overhang the padded input. What overhangs is never
    counted; padding is counted by the mean if `counts_padding`, and is never the largest. Every window touches the input. The
    largest of a window that has a NaN is NaN, as in PyTorch (ONNX Runtime drops it or not by its place in the window).
    """

    kind: Literal["max", "average"]
    input: View
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    counts_padding: bool = False
    activation: Activation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalPool(Operation):
    """activation(largest or mean value of a whole plane); the output's planes are 1 × 1."""

    kind: Literal["max", "average"]
    input: View
    activation: Activation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resample(Operation):
    """Plane by plane, weighted sums of rows or of columns: a mean over windows of several sizes, a resize.

    `weight` names a constant: (output height, height) if `axis` is "rows", as it stands to the left of a plane in a product of
    matrices; (width, output width) if it is "columns", to the right.
    """

    input: View
    weight: str
    axis: Literal["rows", "columns"]

    def times(self, weight: np.ndarray) -> int:
        """How many times each row or column goes into the result, where the weights do nothing but repeat; 0 elsewhere."""
        by_result = weight if self.axis == "rows" else weight.T
        results, numbers = by_result.shape
        times = results // numbers
        return times if np.array_equal(by_result, np.repeat(np.eye(numbers), times, axis=0)) else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Elementwise(Operation):
    """activation(left + right + addend) or activation(left × right + addend).

    `left` has the output's shape, and `right` too, or it has planes of 1 × 1 (one number a channel, as in a
    squeeze-and-excitation block). `addend`, a residual, is None or has the output's shape.
    """

    kind: Literal["add", "multiply"]
    left: View
    right: View
    addend: View | None = None
    activation: Activation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Activate(Operation):
    """An activation that no producer could take in."""

    input: View
    activation: Activation


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalResponseNormalization(Operation):
    """input / (bias + alpha / size · Σ input²) ** beta, the sum over the channels c − (size−1)//2 … c + size//2 that exist."""

    input: View
    size: int
    alpha: float
    beta: float
    bias: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Softmax(Operation):
    """exp(input) / Σ exp(input), the sum over the channels of each pixel."""

    input: View


@dataclass(frozen=True, kw_only=True, slots=True)
class Pad(Operation):
    """A border of `value` around every plane: what no convolution or pool could take in."""

    input: View
    padding: Padding
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantize(Operation):
    """The code nearest to each number, by the output's quantization; of a NaN, 0."""

    input: View


@dataclass(frozen=True, kw_only=True, slots=True)
class Dequantize(Operation):
    """The number that each code stands for."""

    input: View


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup(Operation):
    """Any function of one code: `table` names a constant, uint8 (256,), with the output's code for each of the input's."""

    input: View
    table: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy(Operation):
    """The channels of all `pieces`, one after the other. As read it is a concatenation; after simplify only what is no address."""

    pieces: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the network: its ONNX name and shape, and where its numbers (channels, height, width) are.

    `shape` is that of one picture. `batch` says how several lie in an output: along this axis, or stacked along a new first one;
    "mixed" where the network takes one at a time.
    """

    name: str
    view: View
    shape: tuple[int, ...]
    batch: Batch = 0


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in an order in which they can run. `constants` are read-only arrays: float32 (scales and shifts that simplify
    has yet to fold, and biases, may be float64), or int8, int32 and uint8 where an operation works on codes.

    An input port's tensor belongs to it alone, whole, and is written by nobody. An output port reads what an operation wrote,
    never an input.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in self.constants.values():
            array.setflags(write=False)
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    @property
    def number(self) -> Element:
        """What tensors hold, but those of codes."""
        return FLOAT16 if any(tensor.dtype == "float16" for tensor in self.tensors.values()) else FLOAT32

    @property
    def weight(self) -> Element:
        """What weights are stored as, but those of an operation on codes."""
        return FLOAT16 if any(array.dtype == np.float16 for array in self.constants.values()) else self.number

    def shape(self, view: View) -> tuple[int, int, int]:
        """Channels, height and width of a view."""
        tensor = self.tensors[view.tensor]
        return view.channels, tensor.height, tensor.width

    def __str__(self) -> str:
        lines = [f"input {p.name} {list(p.shape)} = {p.view}" for p in self.inputs]
        lines += [_format_tensor(tensor) for tensor in self.tensors.values()]
        lines += [f"constant {name} {list(array.shape)}" for name, array in self.constants.items()]
        lines += [format_operation(operation) for operation in self.operations]
        lines += [f"output {p.name} {list(p.shape)} = {p.view}" for p in self.outputs]
        return "\n".join(lines) + "\n"


def _format_tensor(tensor: Tensor) -> str:
    codes = f" {tensor.quantization}" if tensor.quantization else ""
    return f"tensor {tensor.name} {tensor.channels} × {tensor.height} × {tensor.width} {tensor.dtype}{codes}"


def format_operation(operation: Operation) -> str:
    """One line: what is written, the kind of operation, and every field that is not at its default."""
    parts = []
    for f in fields(operation):
        value = getattr(operation, f.name)
        if f.name not in ("name", "output") and value != f.default:
            text = " ".join(map(str, value)) if f.name == "pieces" else str(value)
            parts.append(f"{f.name}={text}")
    return f"{operation.output} = {type(operation).__name__} {operation.name!r}: {', '.join(parts)}"


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """Height and width of what a convolution leaves of `size`: only windows that lie within the padded input."""
    padded = size[0] + padding[0] + padding[2], size[1] + padding[1] + padding[3]
    height, width = (
        (p - d * (k - 1) - 1) // s + 1 for p, k, s, d in zip(padded, kernel, stride, dilation, strict=True)
    )
    return height, width


def every_window_touches(
    size: Pair, output_size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> bool:
    """Whether each of a pool's windows holds a number of the input itself, not only padding."""
    return all(
        any(
            0 <= index * stride[axis] - padding[axis] + tap * dilation[axis] < size[axis] for tap in range(kernel[axis])
        )
        for axis in (0, 1)
        for index in range(output_size[axis])
    )


def _runs(planes: tuple[int, ...]) -> list[str]:
    """Planes as text, consecutive ones as first:end."""
    texts = []
    for _, group in groupby(enumerate(planes), key=lambda pair: pair[1] - pair[0]):
        run = [plane for _, plane in group]
        texts.append(f"{run[0]}:{run[-1] + 1}" if len(run) > 1 else str(run[0]))
    return texts
