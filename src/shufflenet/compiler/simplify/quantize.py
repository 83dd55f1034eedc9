"""QDQ becomes arithmetic on codes: what stands between DequantizeLinear and QuantizeLinear works on the codes themselves.

An operation that has no form on codes stays as it is, in float32 between a Dequantize and a Quantize.
"""

from dataclasses import replace

import numpy as np

from shufflenet.compiler.graph.integers import (
    LARGEST_FACTOR,
    addend_factors,
    dequantize,
    has_limits,
    holds_codes,
    limits,
    quantization,
    quantize,
    sum_scale,
)
from shufflenet.compiler.graph.ir import (
    RELU,
    Activate,
    Activation,
    Convolution,
    Copy,
    Dequantize,
    Elementwise,
    GlobalPool,
    Graph,
    Lookup,
    Operation,
    Pad,
    Pool,
    Quantization,
    Quantize,
    Resample,
    View,
)
from shufflenet.compiler.graph.reference import activate
from shufflenet.compiler.simplify.rewrite import Edit, Wiring, channel_order

_CODES = np.arange(256)
_MOST_HALVINGS = 160  # of weights' codes; eight leave nothing of them
_LARGEST_SUM = 2**31 - 1 - 255 * LARGEST_FACTOR  # an addend may be added


def quantize_before_copy(operation: Operation, wiring: Wiring) -> Edit | None:
    """The codes of a concatenation, as a concatenation of codes; an activation before them goes along."""
    if not isinstance(operation, Quantize):
        return None
    chain: list[Quantize | Activate] = [operation]
    copy = wiring.producer(operation.input)
    if isinstance(copy, Activate) and wiring.only_read_by(operation.input, operation):
        chain.insert(0, copy)
        copy = wiring.producer(copy.input)
    if not isinstance(copy, Copy) or not wiring.only_read_by(chain[0].input, chain[0]):
        return None
    operations, tensors, pieces = [], [], []
    for index, piece in enumerate(copy.pieces):
        read = piece
        for link in chain:
            like = wiring.graph.tensors[link.output.tensor]
            tensor = replace(like, name=f"{link.name}.{index}", channels=piece.channels)
            tensors.append(tensor)
            operations.append(replace(link, name=tensor.name, input=read, output=tensor.whole))
            read = tensor.whole
        pieces.append(read)
    output = copy.output
    for link in chain:
        output = link.output.select(tuple(channel_order(output, link.input)))
    joint = replace(copy, name=operation.name, output=output, pieces=tuple(pieces))
    gone = {link.name: () for link in chain}
    return Edit({copy.name: (), **gone, operation.name: (*operations, joint)}, tensors=tuple(tensors))


def keep_codes(operation: Operation, wiring: Wiring) -> Edit | None:
    """What chooses among dequantized numbers, or repeats them, does so with their codes."""
    match operation:
        case Pool() | GlobalPool() if operation.kind == "max" and operation.activation in (None, RELU):
            pass
        case Resample() if operation.times(wiring.graph.constants[operation.weight]):
            pass
        case _:
            return None
    if not isinstance(wiring.producer(operation.input), Dequantize):
        return None
    like, of = wiring.graph.tensors[operation.output.tensor], _source(operation.input, wiring)
    tensor = replace(like, name=f"{operation.name}.codes", dtype="uint8", quantization=of)
    codes = View(tensor.name, operation.output.planes)
    chosen = replace(operation, name=tensor.name, input=_codes(operation.input, wiring), output=codes)
    after = Dequantize(name=operation.name, output=operation.output, input=codes)
    return Edit({operation.name: (chosen, after)}, tensors=(tensor,))


def compute_on_codes(operation: Operation, wiring: Wiring) -> Edit | None:
    """An operation whose operands are all dequantized and whose result is quantized, and that alone."""
    if not isinstance(operation, Quantize):
        return None
    before, graph = wiring.producer(operation.input), wiring.graph
    if before is None or not wiring.only_read_by(operation.input, operation):
        return None
    if not all(isinstance(wiring.producer(view), Dequantize) for view in before.inputs):
        return None
    to = quantization(graph, operation.output)
    output = operation.output.select(tuple(channel_order(before.output, operation.input)))
    usual = {"name": operation.name, "output": output}
    constants: dict[str, np.ndarray] = {}
    match before:
        case Convolution() if _is_limited(before) and before.addend is None:
            integers = _integer_constants(before, operation.name, wiring)
            if integers is None:
                return None
            constants, names = integers
            made = replace(before, **usual, **names, input=_codes(before.input, wiring))
        case Pool() | GlobalPool() if _is_limited(before) and (
            before.kind == "average" or _source(before.input, wiring) == to
        ):
            made = replace(before, **usual, input=_codes(before.input, wiring))
        case Elementwise() if _is_limited(before) and before.addend is None:
            left, right = _codes(before.left, wiring), _codes(before.right, wiring)
            same = graph.shape(before.left) == graph.shape(before.right)
            if before.kind == "add" and not same:
                return None
            made = replace(before, **usual, left=left, right=right)
        case Pad() if _source(before.input, wiring) == to:
            made = replace(before, **usual, input=_codes(before.input, wiring))
        case Activate() if _is_limited(before) and _source(before.input, wiring) == to:
            made = replace(before, **usual, input=_codes(before.input, wiring))
        case Activate():
            table = _table(_source(before.input, wiring), before.activation, to)
            constants = {f"{operation.name}.table": table}
            made = Lookup(**usual, input=_codes(before.input, wiring), table=f"{operation.name}.table")
        case _:
            return None
    return Edit({before.name: (), operation.name: (made,)}, constants)


def requantize(operation: Operation, wiring: Wiring) -> Edit | None:
    """Codes that are dequantized and quantized again: the same codes, or, by a table, those of another scale."""
    if not isinstance(operation, Quantize):
        return None
    before, graph = wiring.producer(operation.input), wiring.graph
    to = quantization(graph, operation.output)
    if isinstance(before, Dequantize):
        codes = _codes(operation.input, wiring)
        if quantization(graph, codes) == to:
            order = channel_order(View("", tuple(range(operation.output.channels))), operation.output)
            return Edit({operation.name: ()}, aliases={operation.output.tensor: codes.select(tuple(order))})
        table = f"{operation.name}.table"
        lookup = Lookup(name=operation.name, output=operation.output, input=codes, table=table)
        return Edit({operation.name: (lookup,)}, {table: _table(quantization(graph, codes), None, to)})
    return None


def multiply_codes(operation: Operation, wiring: Wiring) -> Edit | None:
    """A convolution whose input alone is codes: from int8 weights, numbers."""
    if (
        not isinstance(operation, Convolution)
        or operation.addend is not None
        or holds_codes(wiring.graph, operation.input)
    ):
        return None
    if not isinstance(wiring.producer(operation.input), Dequantize):
        return None
    integers = _integer_constants(operation, operation.name, wiring)
    if integers is None:
        return None
    constants, names = integers
    return Edit({operation.name: (replace(operation, **names, input=_codes(operation.input, wiring)),)}, constants)


def round_once(operation: Operation, wiring: Wiring) -> Edit | None:
    """Sums whose codes a table only brings to another scale, as codes of that scale, within what the first could say."""
    if not isinstance(operation, Lookup):
        return None
    before, graph = wiring.producer(operation.input), wiring.graph
    if not isinstance(before, Convolution | Pool | GlobalPool | Elementwise) or not wiring.only_read_by(
        operation.input, operation
    ):
        return None
    if isinstance(before, Pool | GlobalPool) and before.kind == "max":
        return None
    of, to = quantization(graph, operation.input), quantization(graph, operation.output)
    if not np.array_equal(graph.constants[operation.table], _table(of, None, to)):
        return None
    low, high = (float(number) for number in dequantize(np.array(limits(before.activation, of)), of))
    output = operation.output.select(tuple(channel_order(before.output, operation.input)))
    made = replace(before, name=operation.name, output=output, activation=Activation("clip", low, high))
    return Edit({before.name: (), operation.name: (made,)})


def limit_codes(operation: Operation, wiring: Wiring) -> Edit | None:
    """Limits that codes are kept in: those of the operation that makes them, or else a table."""
    if not isinstance(operation, Activate) or not holds_codes(wiring.graph, operation.output):
        return None
    before = wiring.producer(operation.input)
    takes = isinstance(before, Convolution | Pool | GlobalPool | Elementwise) and before.activation is None
    if takes and wiring.only_read_by(operation.input, operation):
        return None  # fuse_activation's
    to = quantization(wiring.graph, operation.output)
    table = f"{operation.name}.table"
    lookup = Lookup(name=operation.name, output=operation.output, input=operation.input, table=table)
    return Edit({operation.name: (lookup,)}, {table: _table(to, operation.activation, to)})


def add_to_convolution(operation: Operation, wiring: Wiring) -> Edit | None:
    """A residual's codes, into the sum that they are added to: it is rounded once, where the file rounds twice.

    Where its factors do not fit, the addition stays by itself. A channel whose weights are so small that its factor is too large
    gets coarser weights: its sum is still finer than the residual's codes by 2¹⁴.
    """
    graph = wiring.graph
    if not isinstance(operation, Elementwise) or operation.kind != "add" or not holds_codes(graph, operation.output):
        return None
    candidates: list[tuple[int, Convolution, Convolution, dict[str, np.ndarray]]] = []
    for own, other in ((operation.left, operation.right), (operation.right, operation.left)):
        before = wiring.producer(own)
        if not isinstance(before, Convolution) or before.activation is not None or before.addend is not None:
            continue
        if not wiring.only_read_by(own, operation):
            continue
        order = tuple(channel_order(before.output, own))
        fused = replace(
            before,
            name=operation.name,
            output=operation.output.select(order),
            addend=other.select(order),
            activation=operation.activation,
        )
        fused, constants = _with_coarse_rows(fused, graph)
        if addend_factors(replace(graph, constants={**graph.constants, **constants}), fused).fit:
            candidates.append((wiring.position[before.name], before, fused, constants))
    if not candidates:
        return None
    _, before, fused, constants = max(candidates, key=lambda candidate: candidate[0])
    return Edit({before.name: (), operation.name: (fused,)}, constants)


def _with_coarse_rows(fused: Convolution, graph: Graph) -> tuple[Convolution, dict[str, np.ndarray]]:
    """A convolution whose addend's factors fit int16, as far as larger scales of small weights can bring that about."""
    assert fused.addend is not None
    assert fused.weight_scale is not None
    assert fused.bias is not None
    with np.errstate(all="ignore"):
        ratio = quantization(graph, fused.addend).scale / sum_scale(graph, fused).astype(np.float64)
        halvings = np.clip(np.nan_to_num(np.ceil(np.log2(ratio / LARGEST_FACTOR))), 0, _MOST_HALVINGS).reshape(-1)
    if not halvings.any():
        return fused, {}
    times = 2.0**halvings
    scale = graph.constants[fused.weight_scale]
    constants = {
        f"{fused.name}.weight_codes": np.rint(graph.constants[fused.weight] / times.reshape(-1, 1, 1, 1)).astype(
            np.int8
        ),
        f"{fused.name}.bias_codes": np.rint(graph.constants[fused.bias] / times).astype(np.int32),
        f"{fused.name}.weight_scale": (scale * times.reshape(scale.shape)).astype(np.float32),
    }
    weight, bias, weight_scale = constants
    return replace(fused, weight=weight, bias=bias, weight_scale=weight_scale), constants


def _is_limited(operation: Convolution | Pool | GlobalPool | Elementwise | Activate) -> bool:
    return has_limits(operation.activation)


def _codes(view: View, wiring: Wiring) -> View:
    """The codes of dequantized numbers."""
    before = wiring.producer(view)
    assert isinstance(before, Dequantize)
    channel = {plane: index for index, plane in enumerate(before.output.planes)}
    return before.input.select(tuple(channel[plane] for plane in view.planes))


def _source(view: View, wiring: Wiring) -> Quantization:
    return quantization(wiring.graph, _codes(view, wiring))


def _table(of: Quantization, activation: Activation | None, to: Quantization) -> np.ndarray:
    """The code of each code's number, or of its activation."""
    with np.errstate(over="ignore"):
        numbers = activate(dequantize(_CODES, of).astype(np.float64), activation)
    return quantize(numbers.astype(np.float32), to)


def _integer_constants(
    operation: Convolution, name: str, wiring: Wiring
) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
    """Weights and bias as codes, and the fields that name them; None where they are no codes or a sum may leave int32."""
    graph = wiring.graph
    if operation.weight_scale is None:
        return None
    scale = graph.constants[operation.weight_scale].astype(np.float64)
    coded = replace(operation, input=_codes(operation.input, wiring))
    unit = sum_scale(graph, coded).reshape(-1).astype(np.float64)
    bias = np.zeros(len(unit)) if operation.bias is None else graph.constants[operation.bias].astype(np.float64)
    with np.errstate(all="ignore"):
        weight = np.nan_to_num(np.rint(graph.constants[operation.weight] / scale.reshape(-1, 1, 1, 1)))
        bias = np.nan_to_num(np.rint(bias / unit))
    largest = np.abs(weight).sum(axis=(1, 2, 3)) * 255 + np.abs(bias)
    if weight.min() < -128 or weight.max() > 127 or largest.max() > _LARGEST_SUM:
        return None
    names = {"weight": f"{name}.weight_codes", "bias": f"{name}.bias_codes", "weight_scale": f"{name}.weight_scale"}
    constants = {
        names["weight"]: weight.astype(np.int8),
        names["bias"]: bias.astype(np.int32),
        names["weight_scale"]: graph.constants[operation.weight_scale],
    }
    return constants, names


def forget_scales(graph: Graph) -> Graph:
    """Without the scales of weights that stayed numbers."""
    operations: list[Operation] = []
    for operation in graph.operations:
        if isinstance(operation, Convolution) and not holds_codes(graph, operation.input):
            operation = replace(operation, weight_scale=None)
        operations.append(operation)
    return replace(graph, operations=tuple(operations))
