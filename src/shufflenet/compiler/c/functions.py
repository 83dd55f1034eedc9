"""Each step of a plan as a C function: `w` are the weights, `a` is the arena, and every number is a constant.

A step that is dealt to threads does its units [begin, end), with `s` for scratch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod

import numpy as np

from shufflenet.compiler.c import integer_functions, plane_functions
from shufflenet.compiler.c.addresses import at, place, scratch, window
from shufflenet.compiler.c.calls import limits, planes
from shufflenet.compiler.c.definitions import Definitions, activation_kind, comment, number
from shufflenet.compiler.c.source import Pixels
from shufflenet.compiler.c.units import count_planes, each_chunk, from_begin, takes_scratch
from shufflenet.compiler.graph.elements import FLOAT32
from shufflenet.compiler.graph.ir import Activation
from shufflenet.compiler.plan import integer_steps, plane_steps, steps
from shufflenet.compiler.plan.operands import Block, Chunks
from shufflenet.compiler.plan.steps import PlannedPort, Step


def input_port(step: Step) -> str | None:
    """The tensor of the network input that a step's function reads, if it reads one."""
    return next((planes.buffer.name for planes in step.reads if planes.buffer.place == "port"), None)


@dataclass(frozen=True)
class StepFunctions:
    """Writes the functions. `inputs` are the network's; with `pixels`, functions that read one take 8-bit pixels instead, too."""

    inputs: tuple[PlannedPort, ...]
    pixels: Pixels | None
    definitions: Definitions

    def function(self, name: str, step: Step) -> str:
        parameters = ["const float *w"] if step.takes_weights else []
        parameters += ["float *a"]
        parameters += ["float *s"] if takes_scratch(step) else []
        if input_port(step) is not None:
            parameters += ["const float *input"]
            parameters += ["const uint8_t *pixels", "ptrdiff_t row_stride"] if self.pixels else []
        parameters += ["int begin", "int end"] if step.tasks else []
        body = "\n".join(f"  {line}" for line in self.body(step))
        return (
            f"{comment(f'{step.name}: {step.comment}')}\nstatic void {name}({', '.join(parameters)}) {{\n{body}\n}}\n"
        )

    @singledispatchmethod
    def body(self, step: Step) -> Iterator[str]:
        yield from integer_functions.body(step, self.definitions)

    @body.register
    def _(self, step: integer_steps.QuantizePlanes) -> Iterator[str]:
        usual = integer_functions.body(step, self.definitions)
        if step.input.buffer.place != "port" or not self.pixels:
            yield from usual
            return
        port = next(p for p in self.inputs if p.planes.buffer == step.input.buffer)
        yield "if (!pixels) {"
        yield from (f"  {line}" for line in usual)
        yield "  return;"
        yield "}"
        yield from integer_functions.pixel_codes(step, port, self.pixels, self.definitions)

    @body.register
    def _(self, step: integer_steps.IntegerStem) -> Iterator[str]:
        yield from integer_functions.stem(step, self.pixels, self.definitions)

    # Products.

    def _product(self, step: steps.Weighted, changes: Mapping[str, str | None]) -> str:
        """The initializer of kernels/product.c's struct, with some fields other than usual; None leaves a field out."""
        addend = step.addend
        values = {
            "weights": self.definitions.weights(step.weights),
            "bias": self.definitions.weights(step.bias),
            "input": at(step.input),
            "output": at(step.output),
            "to": self.definitions.starts(step.output),
            "addend": at(addend) if addend else None,
            "from": self.definitions.starts(addend or step.output),
            **_activation_fields(step.activation),
            **changes,
        }
        return "{" + ", ".join(f".{key} = {value}" for key, value in values.items() if value is not None) + "}"

    @body.register
    def _(self, step: steps.Product) -> Iterator[str]:
        yield from self._chunks(step, step.chunks)

    def _chunks(self, step: steps.Product, chunks: tuple[Chunks, ...], read: str = "", made: str = "") -> Iterator[str]:
        """The product of these chunks of pixels, counted from those `read` in the input and `made` in the output."""
        groups = step.groups * step.row_pieces
        rows = len(step.output.planes) // groups
        stride = step.input.spacing
        assert stride is not None
        changes = {
            "input": f"{at(step.input, step.input.starts[0])}{read}",
            "output": f"{at(step.output)}{made}",
            "addend": f"{at(step.addend)}{made}" if step.addend else None,
            "input_stride": str(stride),
            "inner": str(step.part),
        }
        yield f"struct product p = {self._product(step, changes)};"
        yield f"for (int group = 0; group < {groups}; group++) {{"
        for loop, chunk in each_chunk(step, groups, chunks):
            yield f"  {loop}"
            yield "    struct product q = p;"
            yield f"    q.input += first, q.output += first{', q.addend += first' if step.addend else ''};"
            for part in range(0, step.inner, step.part):
                count = min(step.part, step.inner - part)
                flags, activation = _ends(step, part, count)
                multiply = self.definitions.multiply(
                    chunk.count, chunk.blocks, (*flags, "FAR") if step.far else flags, activation
                )
                if count != step.part:
                    yield f"    q.inner = {count};"
                yield f"    {multiply}(q);"
                yield f"    q.weights += {rows * count}, q.input += {count * stride};"
            yield "  }"
        yield f"  p.weights += {rows * step.inner}{f', p.input += {step.inner * stride}' if step.row_pieces == 1 else ''};"
        if step.row_pieces > 1:
            yield f"  if (group % {step.row_pieces} == {step.row_pieces - 1}) p.input += {step.inner * stride};"
        yield f"  p.bias += {rows}, p.to += {rows}, p.from += {rows};"
        yield "}"

    @body.register
    def _(self, step: steps.Strips) -> Iterator[str]:
        window, rows = step.depthwise.window, step.runs[0].rows
        width, stride, ahead = window.width, window.stride[0], window.shared_rows - 1
        made = f" + row * {window.output_width}"
        if step.tasks:
            yield f"const int last = end * {rows} - {rows};"
            yield from self._take_edge(step, "begin > 0", "begin", 0, window.shared_rows)
        else:
            yield f"float *const s = {place('a', step.scratch, FLOAT32)};"
        for run in step.runs:
            first = run.first == 0
            read, to = ("", f" - {ahead * width}") if first else (f" + ({stride} * row + {ahead}) * {width}", "")
            parts = [] if first else [self._share_rows(step)]
            if run.compress_less and step.tasks and run.end < window.output_height:
                below = f"row == last && end < {step.tasks.units}"
                parts += [self._either(below, self._chunks(step.compress, run.compress_less, read, to),
                                       self._chunks(step.compress, run.compress, read, to))]  # fmt: skip
                parts += [self._take_edge(step, below, "end", rows + 2 - run.left_out, run.left_out)]
            elif run.compress:
                parts.append(self._chunks(step.compress, run.compress, read, to))
            parts.append(self._depthwise_rows(step.depthwise, "row", run.rows))
            parts.append(self._chunks(step.expand, run.expand, made=made))
            if step.shortcut:
                parts.append(self._depthwise_rows(step.shortcut, "row", run.rows, f" + {stride} * row * {width}", made))
            yield f"for (int row = {run.first}; row < {run.end}; row += {run.rows}) {{"
            if step.tasks:
                yield f"  if (row < begin * {rows} || row > last) continue;"
            for part in parts:
                yield "  {"
                yield from (f"    {line}" for line in part)
                yield "  }"
            yield "}"

    def edge(self, name: str, step: steps.Strips) -> str:
        """A function that makes the rows which strip `begin` shares with the one above."""
        window = step.depthwise.window
        row = f"{window.stride[0]} * row - 1"
        edge = self._edge(step, "begin")
        half = step.edge.output.element != FLOAT32
        lines = [
            f"float *const s = {f'(float *)({edge})' if half else edge};",
            f"const int row = begin * {step.runs[0].rows};",
        ]
        lines += self._chunks(step.edge, step.edge.chunks, f" + ({row}) * {window.width}")
        body = "\n".join(f"  {line}" for line in lines)
        return f"static void {name}(const float *w, float *a, int begin) {{\n{body}\n}}\n"

    def _edge(self, step: steps.Strips, strip: str) -> str:
        assert step.tasks
        count = step.edge.output.element.count
        edges = place("a", step.scratch + step.edges, step.edge.output.element)
        return f"{edges} + ({strip} / {step.tasks.each} - 1) * {count(step.edge_bytes)}"

    def _take_edge(self, step: steps.Strips, condition: str, strip: str, row: int, rows: int) -> Iterator[str]:
        """Where `condition` holds, the last `rows` rows of a strip's edge become those from `row` on in scratch."""
        window, planes = step.depthwise.window, step.depthwise.input
        edges = self.definitions.starts(replace(planes, stride=step.edge.output.stride, first=0))
        yield f"if ({condition})"
        yield f"  for (int i = 0; i < {len(planes.planes)}; i++)"
        yield f"    memcpy({at(planes)} + {self.definitions.starts(planes)}[i] + {(row - 1) * window.width},"
        yield f"           {self._edge(step, strip)} + {edges}[i] + {(window.shared_rows - rows) * window.width},"
        yield f"           sizeof({planes.element.c_type}) * {rows * window.width});"

    def _either(self, condition: str, yes: Iterator[str], no: Iterator[str]) -> Iterator[str]:
        yield f"if ({condition}) {{"
        yield from (f"  {line}" for line in yes)
        yield "} else {"
        yield from (f"  {line}" for line in no)
        yield "}"

    def _share_rows(self, step: steps.Strips) -> Iterator[str]:
        """The last compressed rows of the strip above become the first."""
        window, planes = step.depthwise.window, step.depthwise.input
        moved = window.stride[0] * step.runs[0].rows * window.width
        if step.tasks:
            yield f"if (row > begin * {step.runs[0].rows})"
        yield f"for (int i = 0; i < {len(planes.planes)}; i++) {{"
        yield f"  {planes.element.c_type} *const rows = {at(planes)} + {self.definitions.starts(planes)}[i] - {window.width};"
        yield f"  memcpy(rows, rows + {moved}, sizeof({planes.element.c_type}) * {window.shared_rows * window.width});"
        yield "}"

    @body.register
    def _(self, step: steps.PanelProduct) -> Iterator[str]:
        yield from self._panel_product(step)

    def _panel_product(self, step: steps.PanelProduct, *, shared: bool = True) -> Iterator[str]:
        """`shared`: of its units, those that this call is to do."""
        rows = len(step.output.planes) // step.groups
        channels = len(step.input.planes) // step.groups
        element = step.output.element
        yield f"{element.c_type} *const panel = {scratch(step, element)};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        yield f"  const int32_t *const from = {self.definitions.starts(step.input)} + group * {channels};"
        for loop, chunk in each_chunk(step if shared else replace(step, tasks=None), step.groups, step.chunks):
            yield f"  {loop}"
            for part in range(0, step.inner, step.panel_inner):
                end = min(part + step.panel_inner, step.inner)
                multiply = self.definitions.multiply(chunk.count, chunk.blocks, *_ends(step, part, end - part))
                panel_window = window(step.window, "first", chunk.count)
                changes = {
                    "weights": f"{self.definitions.weights(step.weights)} + {rows} * ({step.inner} * group + {part})",
                    "bias": f"{self.definitions.weights(step.bias)} + {rows} * group",
                    "input": "panel",
                    "output": f"{at(step.output)} + first",
                    "to": f"{self.definitions.starts(step.output)} + {rows} * group",
                    "addend": f"{at(step.addend)} + first" if step.addend else None,
                    "from": f"{self.definitions.starts(step.addend or step.output)} + {rows} * group",
                    "input_stride": str(step.panel_stride),
                    "inner": str(end - part),
                }
                yield f"    pack_panel({panel_window}, {at(step.input)}, from, {part}, {end}, panel, {step.panel_stride});"
                yield f"    {multiply}((struct product){self._product(step, changes)});"
            yield "  }"
        yield "}"

    @body.register
    def _(self, step: steps.WinogradProduct) -> Iterator[str]:
        transform, layout, matrix = step.transform, step.layout, self.definitions.input_matrix(step.transform)
        rows, channels = (len(operand.planes) // step.groups for operand in (step.output, step.input))
        pixels = step.window.height * step.window.width
        operand = f"{len(step.input.planes)}, {planes(step.input, self.definitions)}"
        yield f"if (!all_within({number(step.largest_input)}, {pixels}, {operand})) {{"
        if step.tasks:
            yield "  if (begin > 0) return; /* who has the first unit does all */"
        yield from (f"  {line}" for line in self._panel_product(step, shared=False))
        yield "  return;"
        yield "}"
        yield f"float *const padded = {scratch(step)}, *const lines = padded + {layout.lines};"
        yield f"float *const input = padded + {layout.input_tiles}, *const output = padded + {layout.output_tiles};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        yield f"  const int32_t *const from = {self.definitions.starts(step.input)} + group * {channels};"
        for loop, chunk in each_chunk(step, step.groups, step.tile_chunks):
            yield f"  {loop}"
            yield f"    const struct winograd tiles = {_tiles(step, chunk)};"
            yield f"    winograd_input(tiles, {matrix}, {channels}, {at(step.input)}, from, padded, lines, input);"
            each = transform.positions * rows * channels
            yield f"    const float *weights = {self.definitions.weights(step.tile_weights)} + {each} * group;"
            yield f"    int row = {rows} * group;"
            for block in chunk.blocks:
                yield from (f"    {line}" for line in self._winograd_blocks(step, chunk.count * layout.columns, block))
            yield "  }"
        yield "}"

    def _winograd_blocks(self, step: steps.WinogradProduct, tiles: int, block: Block) -> Iterator[str]:
        """A product for each position, then the output planes that come of them all."""
        channels, stride = len(step.input.planes) // step.groups, step.layout.tile_stride
        to = self.definitions.table("int32_t", range(0, block.rows * stride, stride))
        zeros = self.definitions.table("float", (0.0,) * block.rows)
        yield f"for (int block = 0; block < {block.count}; block++, row += {block.rows}) {{"
        yield f"  for (int position = 0; position < {step.transform.positions}; position++) {{"
        yield f"    struct product p = {{.weights = weights, .bias = {zeros}, .to = {to}, .from = {to}}};"
        yield f"    p.input = input + position * {step.layout.input_stride}, p.input_stride = {stride};"
        yield f"    p.output = output + position * {step.layout.output_stride};"
        for part in range(0, channels, step.part):
            count = min(step.part, channels - part)
            multiply = self.definitions.multiply(tiles, (replace(block, count=1),), ("RESUME",) if part else (), None)
            yield f"    p.inner = {count};"
            yield f"    {multiply}(p);"
            yield f"    p.weights += {block.rows * count}, p.input += {count * stride};"
        yield "    weights = p.weights;"
        yield "  }"
        matrix, kind = self.definitions.output_matrix(step.transform), activation_kind(step.activation)
        addend = f"{planes(step.addend, self.definitions)} + row" if step.addend else "NULL, NULL"
        yield f"  winograd_output(tiles, {matrix}, {kind}, {block.rows}, output, {self.definitions.weights(step.bias)} + row,"
        yield f"                  {planes(step.output, self.definitions)} + row, {addend}, {limits(step)}, lines);"
        yield "}"

    @body.register
    def _(self, step: steps.VectorProduct) -> Iterator[str]:
        channels = len(step.input.planes) // step.groups
        flags = "ADD" if step.addend else "0"
        padded = -(-step.rows // step.block) * step.block
        rows = str(step.rows)
        yield f"struct product p = {self._product(step, {'inner': str(step.inner)})};"
        if step.tasks:
            rows = f"(end * {step.block} < {step.rows} ? end * {step.block} : {step.rows}) - begin * {step.block}"
            yield f"p.weights += begin * {step.block * step.inner}, p.bias += begin * {step.block};"
            yield f"p.to += begin * {step.block}, p.from += begin * {step.block};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        if step.gather:
            panel_window = window(step.window, 0, 1)
            yield f"  const int32_t *const from = {self.definitions.starts(step.input)} + group * {channels};"
            yield f"  pack_panel({panel_window}, {at(step.input)}, from, 0, {step.inner}, {scratch(step, step.output.element)}, 1);"
            yield f"  p.input = {scratch(step, step.output.element)};"
        else:
            yield f"  p.input = {at(step.input, step.input.starts[0])} + group * {step.inner};"
        yield f"  matrix_times_vector({step.block}, {flags}, {activation_kind(step.activation)}, p, {rows});"
        yield f"  p.weights += {padded * step.inner};"
        yield f"  p.bias += {padded};"
        yield f"  p.to += {step.rows};"
        yield f"  p.from += {step.rows};"
        yield "}"

    @body.register
    def _(self, step: steps.Stem) -> Iterator[str]:
        layout = step.layout
        taps = [y * layout.slot + c * layout.split + layout.taps[x] for c, y, x in np.ndindex(step.channels, 3, 3)]
        output = to = self.definitions.starts(step.output)
        if not step.in_place:
            to = self.definitions.table("int32_t", [filter * layout.row for filter in range(step.filters)])
        multiply = self.definitions.multiply(step.convolution_size[1], step.blocks, ("TAPS",), step.activation)
        changes = {
            "input": None,
            "to": to,
            "from": to,
            "taps": self.definitions.table("int32_t", taps),
            "inner": str(len(taps)),
        }
        yield f"const struct product p = {self._product(step, changes)};"
        source = "NULL, 0, NULL, NULL, NULL"
        if self.pixels:
            source = f"pixels, row_stride, {', '.join(self._normalization(self.pixels, step.input.planes))}"
        places = (layout.odd, layout.even, layout.split, layout.slot, layout.row, layout.rows, layout.buffer)
        sizes = (*step.size, step.channels, step.convolution_size[1], *places)
        yield f"const struct picture picture = {{{', '.join(map(str, sizes))}, {planes(step.input, self.definitions)}, {source}}};"
        rows = ("begin", "end") if step.tasks else ("0", str(step.units))
        kernel, sizes = "stem_rows", (step.filters, *rows, int(step.in_place))
        if step.pooled_size:
            kernel, sizes = "stem_and_pool", (step.filters, step.convolution_size[0], *rows, step.pooled_size[1])
        how = f"picture, {', '.join(map(str, sizes))}, {multiply}, p"
        yield f"{kernel}({how}, {output}, {scratch(step, step.output.element)}, {at(step.output)});"

    # Depthwise layers, and copies that may read pixels.

    @body.register
    def _(self, step: steps.Depthwise) -> Iterator[str]:
        if step.direct:
            w = step.window
            if step.tasks and step.by_rows:
                places = f" + {w.stride[0] * w.width} * begin", f" + {w.output_width} * begin"
                yield from self._depthwise_rows(step, "begin", "end - begin", *places)
            else:
                yield from self._depthwise_rows(step, "0", w.output_height)
            return
        how = f"{window(step.window, 0, 0)}, {step.window.output_height}"
        operands = ", ".join(
            planes(operand, self.definitions, step) for operand in (step.input, step.output, step.addend)
        )
        taps = step.window.kernel[0] * step.window.kernel[1]
        yield f"depthwise_any({how}, {activation_kind(step.activation)}, {count_planes(step)},"
        weights, bias = self.definitions.weights(step.weights), self.definitions.weights(step.bias)
        numbers = f"{from_begin(step, weights, taps)}, {from_begin(step, bias)}"
        yield f"              {numbers}, {operands}, {limits(step)});"

    def _depthwise_rows(
        self, step: steps.Depthwise, first: str, rows: int | str, read: str = "", made: str = ""
    ) -> Iterator[str]:
        """So many rows from row `first` on, whose middle is `read` in the input; they come `made` in the output."""
        w, kind = step.window, activation_kind(step.activation)
        how = f"{w.stride[0]}, {w.height}, {w.width}, {kind}, {count_planes(step)}, {rows}, {first}"
        operands = (f"{at(step.input)}{read}", from_begin(step, self.definitions.starts(step.input)))
        operands += (f"{at(step.output)}{made}", from_begin(step, self.definitions.starts(step.output)))
        numbers = f"{from_begin(step, self.definitions.weights(step.weights), 9)}, {from_begin(step, self.definitions.weights(step.bias))}"
        yield f"depthwise_planes({how},"
        yield f"                 {numbers}, {', '.join(operands)}, {limits(step)});"

    @body.register
    def _(self, step: plane_steps.CopyPlanes) -> Iterator[str]:
        (copy,) = plane_functions.body(step, self.definitions)
        if step.input.buffer.place != "port" or not self.pixels:
            yield copy
            return
        channels, height, width = next(p.shape[1:] for p in self.inputs if p.planes.buffer == step.input.buffer)
        scale, shift, order = self._normalization(self.pixels, range(channels))
        row = f"{at(step.output)} + {self.definitions.starts(step.output)}[c] + y * {width}"
        yield f"if (!pixels) {copy}"
        first, end = ("begin", "end") if step.tasks else (0, channels)
        yield f"else for (int c = {first}; c < {end}; c++)"
        yield f"  for (int y = 0; y < {height}; y++)"
        yield f"    unpack_row(pixels + y * row_stride, {width}, {order}[c], {scale}[c], {shift}[c], {row});"

    def _normalization(self, pixels: Pixels, channels: Sequence[int]) -> tuple[str, str, str]:
        """Tables of the channels' scales, shifts and bytes."""
        scale, shift, order = ([values[c] for c in channels] for values in (pixels.scale, pixels.shift, pixels.order))
        table = self.definitions.table
        return table("float", scale), table("float", shift), table("int32_t", order)


def _ends(step: steps.Product | steps.PanelProduct, part: int, count: int) -> tuple[tuple[str, ...], Activation | None]:
    """How the product of a part of inner begins and ends: the first takes the addend in, which the output may lie over."""
    flags = ("RESUME",) if part else ("ADD",) if step.addend else ()
    return flags, step.activation if part + count == step.inner else None


def _activation_fields(activation: Activation | None) -> dict[str, str]:
    if activation is None or activation.kind not in ("clip", "leaky_relu", "hard_sigmoid"):
        return {}
    return {"alpha": number(activation.alpha), "beta": number(activation.beta)}


def _tiles(step: steps.WinogradProduct, chunk: Chunks) -> str:
    """kernels/winograd.c's struct for rows of tiles from `first` on."""
    w, transform, layout = step.window, step.transform, step.layout
    values = (
        transform.size, transform.output, w.height, w.width, *w.padding, w.output_height, w.output_width,
        layout.columns, "first", chunk.count,
        layout.padded_stride, layout.line_stride, layout.tile_stride, layout.input_stride, layout.output_stride,
    )  # fmt: skip
    return f"{{{', '.join(map(str, values))}}}"
