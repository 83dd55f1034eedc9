"""Steps on codes as C: the calls of kernels/integer_*.c, every number a constant."""

from collections.abc import Iterator

import numpy as np

from shufflenet.compiler.c.addresses import at, scratch, weights, window
from shufflenet.compiler.c.calls import body, planes, through
from shufflenet.compiler.c.definitions import Definitions, activation_kind, number
from shufflenet.compiler.c.source import Pixels
from shufflenet.compiler.c.units import count_planes, from_begin
from shufflenet.compiler.graph.elements import FLOAT32, INT32, S8, U8
from shufflenet.compiler.graph.integers import inverse, quantize
from shufflenet.compiler.graph.ir import Quantization
from shufflenet.compiler.plan import integer_steps as steps
from shufflenet.compiler.plan.steps import PlannedPort


def _bounds(step: steps.IntegerStep) -> str:
    return f"{step.zero_point}, {step.low}, {step.high}"


@body.register
def _(step: steps.IntegerProduct, definitions: Definitions) -> Iterator[str]:
    groups = step.groups
    rows, channels = len(step.output.planes) // groups, len(step.input.planes) // groups
    quads = -(-step.inner // 4)
    yield f"int8_t *const panel = {scratch(step, S8)};"
    yield f"const int chunk = chunk_pixels({step.pixels}, {step.most_pixels}, {quads}, {step.panel_bytes});"
    first, last, group, end = "0", str(step.pixels), "0", str(groups)
    if step.tasks and step.by_pixels:
        first, last = f"begin * {steps.UNIT_PIXELS}", "last"
        yield f"const int last = end * {steps.UNIT_PIXELS} < {step.pixels} ? end * {steps.UNIT_PIXELS} : {step.pixels};"
    elif step.tasks:
        group, end = "begin", "end"
    yield f"for (int group = {group}; group < {end}; group++)"
    yield f"  for (int first = {first}; first < {last}; first += chunk) {{"
    yield f"    const int count = first + chunk < {last} ? chunk : {last} - first;"
    yield "    const struct pixel_counts n = count_pixels(count);"
    if step.window:
        panel = f"{scratch(step, U8)} + {step.gathered}"
        from_ = f"{definitions.starts(step.input)} + group * {channels}"
        yield f"    gather_bytes({window(step.window, 'first', 'count')}, {step.input_zero}, {at(step.input)}, {from_},"
        yield f"                 {step.inner}, {panel}, {step.gathered_stride});"
        source = f"{panel}, {step.gathered_stride}, {step.inner}, 0"
    else:
        spacing = step.input.spacing
        source = f"{at(step.input, step.input.starts[0])} + group * {channels * (spacing or 0)}, {spacing}, {step.inner}, first"
    yield f"    pack_pixels({source}, n, panel);"
    to, from_ = definitions.starts(step.output), definitions.starts(step.addend or step.output)
    values = {
        "weights": f"{weights(step.weights, S8)} + group * {quads * 4 * rows}",
        "bias": f"{weights(step.bias, INT32)} + group * {rows}",
        "weight_sums": f"{weights(step.weight_sums, INT32)} + group * {rows}",
        "scale": f"{weights(step.scale)} + group * {rows}",
        "panel": "(const uint8_t *)panel",
        "wide": f"(int32_t *)(panel + {step.wide})",
        "numbers" if step.output.element == FLOAT32 else "output": f"{at(step.output)} + first",
        "to": f"{to} + group * {rows}",
        "from": f"{from_} + group * {rows}",
        "quads": str(quads),
        "pixels": "count",
        "zero": str(step.zero_point),
        "low": str(step.low),
        "high": str(step.high),
    }
    if step.addend:
        values["addend"] = f"{at(step.addend)} + first"
        values["addend_weights"] = f"{weights(step.addend_factors, INT32)} + group * {rows}"
    if step.shifts is not None:
        values["shifts"] = f"{weights(step.shifts, INT32)} + group * {rows}"
    if step.addend_bias is not None:
        values["addend_bias"] = f"{weights(step.addend_bias, INT32)} + group * {rows}"
    initializer = ", ".join(f".{key} = {value}" for key, value in values.items())
    yield f"    struct integer_product p = {{{initializer}}};"
    for block in step.blocks:
        yield f"    p.rows = {block.rows};"
        yield f"    for (int block = 0; block < {block.count}; block++) {{"
        yield from (f"  {line}" for line in definitions.integer_tiles(block, step.pixels, _flags(step)))
        yield f"      p.weights += {quads * 4 * block.rows}, p.first += {block.rows};"
        yield "    }"
    yield "  }"


def _flags(step: steps.IntegerProduct) -> tuple[str, ...]:
    """Those of kernels/integer_product.c."""
    kinds = {
        "ADD_BYTES": step.addend is not None,
        "SHIFT_SUMS": step.shifts is not None,
        "ADDEND_BIAS": step.addend_bias is not None,
        "LARGE_SUMS": step.large,
        "ANY_CODE": (step.zero_point, step.low, step.high) != (0, 0, 255),
        "NUMBERS": step.output.element == FLOAT32,
    }
    return tuple(name for name, holds in kinds.items() if holds)


@body.register
def _(step: steps.IntegerDepthwise, definitions: Definitions) -> Iterator[str]:
    w, room = step.window, scratch(step, U8)
    values = {
        "planes": count_planes(step),
        "rows": str(step.layout.rows),
        "input": at(step.input),
        "from": from_begin(step, definitions.starts(step.input)),
        "output": at(step.output),
        "to": from_begin(step, definitions.starts(step.output)),
        "padded": f"{{{room}, {room} + {step.layout.second}}}",
        "made": f"{room} + {step.layout.made}",
        "weights": from_begin(step, weights(step.weights, S8), 12),
        "bias": from_begin(step, weights(step.bias, INT32)),
        "scale": from_begin(step, weights(step.scale)),
        "input_zero": str(step.input_zero),
        "zero": str(step.zero_point),
        "low": str(step.low),
        "high": str(step.high),
    }
    initializer = ", ".join(f".{key} = {value}" for key, value in values.items())
    yield f"const struct integer_depthwise d = {{{initializer}}};"
    yield f"integer_depthwise({w.stride[0]}, {w.height}, {w.width}, d);"


@body.register
def _(step: steps.IntegerPatches, definitions: Definitions) -> Iterator[str]:
    w = step.window
    pixels, rows = w.output_height * w.output_width, len(step.output.planes) // step.groups
    is_float = step.output.element == FLOAT32
    alpha, beta = (step.activation.alpha, step.activation.beta) if step.activation else (0, 0)
    factors = weights(step.addend_factors, INT32) if step.addend else "NULL"
    shifts = ", ".join("NULL" if place is None else weights(place, INT32) for place in (step.shifts, step.addend_bias))
    output = f"NULL, {at(step.output)}" if is_float else f"{at(step.output)}, NULL"
    yield f"integer_patches({window(w, 0, 1)}, {pixels}, {step.groups}, {rows}, {step.inner},"
    yield f"                {step.input_zero}, {activation_kind(step.activation)},"
    numbers = f"{weights(step.weights, S8)}, {weights(step.bias, INT32)}, {weights(step.scale)}"
    yield f"                {planes(step.input, definitions)}, {numbers},"
    yield f"                {planes(step.addend, definitions)}, {factors}, {shifts}, {output}, {definitions.starts(step.output)},"
    yield f"                {_bounds(step)}, {number(alpha)}, {number(beta)}, {scratch(step, U8)});"


@body.register
def _(step: steps.IntegerPool, definitions: Definitions) -> Iterator[str]:
    scales = "NULL" if step.largest else weights(step.scales)
    yield f"integer_pool({int(step.largest)}, {window(step.window, 0, 0)}, {step.window.output_height}, {step.input_zero},"
    yield f"             {through(step, step.input, definitions)}, {scales}, {_bounds(step)}, {scratch(step, INT32)});"


@body.register
def _(step: steps.IntegerReduce, definitions: Definitions) -> Iterator[str]:
    operands = f"{count_planes(step)}, {planes(step.input, definitions, step)}, {step.input_zero}"
    operands += f", {planes(step.output, definitions, step)}"
    numbers = f"{number(step.scale)}, {_bounds(step)}"
    yield f"reduce_code_planes({int(step.largest)}, {step.size}, {operands}, {numbers});"


@body.register
def _(step: steps.IntegerAdd, definitions: Definitions) -> Iterator[str]:
    operands = ", ".join(planes(operand, definitions, step) for operand in (step.left, step.right, step.output))
    numbers = f"{step.left_factor}, {step.right_factor}, {step.offset}, {step.shift}, {step.low}, {step.high}"
    how = f"{int(step.right_is_number)}, {step.size}, {count_planes(step)}"
    yield f"add_code_planes({how}, {operands}, (struct integer_addition){{{numbers}}});"


@body.register
def _(step: steps.IntegerMultiply, definitions: Definitions) -> Iterator[str]:
    left, right = planes(step.left, definitions, step), planes(step.right, definitions, step)
    operands = f"{left}, {step.left_zero}, {right}, {step.right_zero}, {planes(step.output, definitions, step)}"
    how = f"{int(step.right_is_number)}, {step.size}, {count_planes(step)}"
    yield f"multiply_code_planes({how}, {operands}, {number(step.scale)}, {_bounds(step)});"


@body.register
def _(step: steps.LookupPlanes, definitions: Definitions) -> Iterator[str]:
    yield f"look_up_planes({step.size}, {through(step, step.input, definitions)}, {weights(step.table, U8)});"


@body.register
def _(step: steps.QuantizePlanes, definitions: Definitions) -> Iterator[str]:
    operands = through(step, step.input, definitions)
    by = number(float(inverse(Quantization(step.scale, step.zero_point))))
    yield f"quantize_planes({step.size}, {operands}, {by}, {step.zero_point});"


@body.register
def _(step: steps.DequantizePlanes, definitions: Definitions) -> Iterator[str]:
    operands = through(step, step.input, definitions)
    yield f"dequantize_planes({step.size}, {operands}, {number(step.scale)}, {step.zero_point});"


@body.register
def _(step: steps.PadBytes, definitions: Definitions) -> Iterator[str]:
    sizes = ", ".join(map(str, (*step.size, *step.padding)))
    yield f"pad_bytes({sizes}, {step.value}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.RepeatBytes, definitions: Definitions) -> Iterator[str]:
    sizes = f"{step.rows}, {step.columns}, {step.down}, {step.across}"
    yield f"repeat_bytes({sizes}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.CopyBytes, definitions: Definitions) -> Iterator[str]:
    yield f"copy_bytes({step.size}, {through(step, step.input, definitions)});"


def pixel_codes(
    step: steps.QuantizePlanes, port: PlannedPort, pixels: Pixels, definitions: Definitions
) -> Iterator[str]:
    """The codes of a network input straight from 8-bit pixels: one look into a table for each."""
    height, width = port.shape[-2:]
    for place, channel in enumerate(step.input.planes):
        codes = byte_codes(pixels, channel, Quantization(step.scale, step.zero_point))
        table = definitions.table("uint8_t", codes)
        made = f"{at(step.output)} + {step.output.starts[place]}"
        yield f"for (int y = 0; y < {height}; y++)"
        yield f"  for (int x = 0; x < {width}; x++)"
        yield f"    ({made})[y * {width} + x] = {table}[pixels[y * row_stride + {pixels.bytes} * x + {pixels.order[channel]}]];"


def byte_codes(pixels: Pixels, channel: int, to: Quantization) -> list[int]:
    """The code of each of a channel's 256 bytes."""
    scale, shift = np.float32(pixels.scale[channel]), np.float32(pixels.shift[channel])
    return [int(code) for code in quantize(np.arange(256, dtype=np.float32) * scale + shift, to)]


def stem(step: steps.IntegerStem, pixels: Pixels | None, definitions: Definitions) -> Iterator[str]:
    """The picture's numbers, or where `pixels` says how to read them its bytes, through the first layer."""
    output_size = [-(-length // 2) if step.pooled else length for length in step.convolution_size]
    codes, layout, channels = Quantization(step.input_scale, step.input_zero), step.layout, step.input.planes
    values = {
        "weights": weights(step.weights, S8),
        "bias": weights(step.bias, INT32),
        "weight_sums": weights(step.weight_sums, INT32),
        "scale": weights(step.scale),
        "channels": str(len(channels)),
        "filters": str(len(step.output.planes)),
        "columns": str(step.convolution_size[1]),
        "line": str(layout.line),
        "zero": str(step.zero_point),
        "low": str(step.low),
        "high": str(step.high),
        "codes": scratch(step, U8),
        "pitch": str(layout.pitch),
        "wide": f"(int32_t *)({scratch(step, U8)} + {layout.wide})",
        "above": f"(int32_t *)({scratch(step, U8)} + {layout.above})",
        "output": at(step.output),
        "to": definitions.starts(step.output),
        "output_width": str(output_size[1]),
        "output_size": str(output_size[0] * output_size[1]),
    }
    source = "NULL, 0, NULL, NULL"
    if pixels:
        table = definitions.table("uint8_t", [code for c in channels for code in byte_codes(pixels, c, codes)])
        source = f"pixels, row_stride, {table}, {definitions.table('int32_t', [pixels.order[c] for c in channels])}"
    sizes = f"{', '.join(map(str, step.size))}, {step.input_zero}, {number(float(inverse(codes)))}"
    yield f"const struct integer_picture picture = {{{sizes}, {planes(step.input, definitions)}, {source}}};"
    yield f"const struct integer_stem s = {{{', '.join(f'.{key} = {value}' for key, value in values.items())}}};"
    flags = tuple(name for name, holds in (("POOLED", step.pooled), ("LARGE_STEM", step.large)) if holds)
    tiles = definitions.integer_stem(step.rows, flags)
    yield f"integer_stem({int(step.pooled)}, {step.convolution_size[0]}, picture, s, {tiles});"
