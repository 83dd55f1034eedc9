"""Parts of the C text that steps share: tables of numbers, products of one shape, Winograd's matrices. Each is written once."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from shufflenet.compiler.c.addresses import weights
from shufflenet.compiler.graph.elements import FLOAT32, U8, Element
from shufflenet.compiler.graph.ir import Activation
from shufflenet.compiler.plan.blocking import PRODUCT_INNER
from shufflenet.compiler.plan.machines import UNITS, VectorUnit
from shufflenet.compiler.plan.operands import Block, Planes
from shufflenet.compiler.plan.tiles import Tiling
from shufflenet.compiler.plan.winograd import Transform


def number(value: float) -> str:
    """A float32 as a C constant, exactly."""
    value = float(np.float32(value))
    if np.isinf(value):
        return "__builtin_inff()" if value > 0 else "-__builtin_inff()"
    return f"{value!r}f"


def comment(text: str) -> str:
    """A C comment, whatever the names in it are."""
    return f"/* {text.replace('*/', '* /').replace('/*', '/ *')} */"


def activation_kind(activation: Activation | None) -> str:
    """The name of kernels/activation.c's constant."""
    return activation.kind.upper() if activation else "NONE"


class Definitions:
    """Collects what steps ask for by the names that it hands out, and writes it in the order of asking.

    `number` is what planes hold, `weight` what weights are stored as.
    """

    def __init__(self, number: Element = FLOAT32, weight: Element = FLOAT32) -> None:
        self._number, self._weight = number, weight
        self._tables: dict[tuple[str, tuple], str] = {}
        # Dicts as ordered sets.
        self._tiles: dict[str, dict[str, None]] = {unit.condition: {} for unit in UNITS[number.name]}
        self._integer_tiles: dict[str, dict[str, None]] = {unit.condition: {} for unit in UNITS[U8.name]}
        self._multiplications: dict[str, str] = {}
        self._matrices: dict[str, list[str]] = {}

    def text(self) -> str:
        """All of it: tables, tiles for each vector unit, and the products made of them."""
        parts = [_declare_table(name, kind, values) for (kind, values), name in self._tables.items()]
        if any(self._tiles.values()):
            tiles = _for_each_unit([list(tiles) for tiles in self._tiles.values()], self._number)
            parts.append("\n".join(tiles) + "\n")
        if any(self._integer_tiles.values()):
            tiles = _for_each_unit([list(tiles) for tiles in self._integer_tiles.values()], U8)
            parts.append("\n".join(tiles) + "\n")
        if self._matrices:
            parts.append(_matrices_function(self._matrices))
        return "\n".join([*parts, *self._multiplications.values()])

    def weights(self, offset: int) -> str:
        """The place so many bytes after the weights' beginning."""
        return weights(offset, self._weight)

    def table(self, kind: str, values: Sequence[float]) -> str:
        """The name of a constant table with these values; `kind` is "float", "int32_t" or "uint8_t"."""
        return self._tables.setdefault((kind, tuple(values)), f"table_{len(self._tables)}")

    def starts(self, planes: Planes | None) -> str:
        """The name of the table of where planes start; NULL for no planes."""
        return self.table("int32_t", planes.starts) if planes else "NULL"

    def input_matrix(self, transform: Transform) -> str:
        """The name by which kernels/winograd.c knows the matrix that transforms the input."""
        name = f"INPUT_{transform.output}_{transform.kernel}"
        return self._matrix(name, _input_statements(transform))

    def output_matrix(self, transform: Transform) -> str:
        """The same for the output's."""
        name = f"OUTPUT_{transform.output}_{transform.kernel}"
        return self._matrix(name, _output_statements(transform))

    def _matrix(self, name: str, statements: Iterator[str]) -> str:
        self._matrices.setdefault(name, list(statements))
        return name

    def multiply(
        self, pixels: int, blocks: tuple[Block, ...], flags: tuple[str, ...], activation: Activation | None
    ) -> str:
        """The name of a function that multiplies one group's weights and pixels; `flags` are those of kernels/product.c."""
        kind = activation_kind(activation)
        suffix = "".join(f"_{flag.lower()}" for flag in (*flags, kind) if flag != "NONE")
        rows = sum(block.count * block.rows for block in blocks)
        name = f"multiply_{rows}x{pixels}_by_{'_'.join(str(block.rows) for block in blocks)}{suffix}"
        if name not in self._multiplications:
            lines = [f"/* {rows} rows × {pixels} pixels. */", f"ROUTINE void {name}(struct product p) {{"]
            if self._weight != FLOAT32:
                lines.append(f"  scalar room[{max(block.rows for block in blocks) * PRODUCT_INNER} + LANES];")
            for block in blocks:
                lines += self._block(block, suffix, f"{' | '.join(flags) or '0'}, {kind}")
            self._multiplications[name] = "\n".join([*lines, "}\n"])
        return name

    def integer_tiles(self, block: Block, pixels: int, flags: tuple[str, ...]) -> list[str]:
        """Statements that multiply a block's rows and the panel of `p`, with each unit's own tiles; a single pixel is in no tile."""
        suffix = "".join(f"_{flag.lower()}" for flag in flags)
        how = " | ".join(flags) or "0"
        lines = []
        if pixels > 1:
            arguments = "&p, p.first + r, n"
            lines = self._for_each_tile(block, "INTEGER_TILE", f"integer_product{suffix}", how, arguments)
        singles = f"integer_pixels{suffix}"
        self._multiplications[singles] = f"INTEGER_SINGLES({singles}, {how})\n"
        return [*lines, f"    if (n.singles) {singles}(&p, n);"]

    def integer_stem(self, block: Block, flags: tuple[str, ...]) -> str:
        """The name of a function that does all filters' work on two rows of an integer stem's convolution."""
        suffix = "".join(f"_{flag.lower()}" for flag in flags)
        name = f"integer_stem_{block.rows}{suffix}"
        if name not in self._multiplications:
            lines = self._for_each_tile(block, "INTEGER_STEM", f"stem_tile{suffix}", " | ".join(flags) or "0", "s, r")
            function = [f"ROUTINE void {name}(const struct integer_stem *s) {{", *lines, "}\n"]
            self._multiplications[name] = "\n".join(function)
        return name

    def _for_each_tile(self, block: Block, macro: str, name: str, how: str, arguments: str) -> list[str]:
        """Calls of tiles that `macro` defines, over a block's rows r, with each unit's own tiles."""
        choices: list[list[str]] = []
        for known, tiling in zip(self._integer_tiles.values(), block.tilings, strict=True):
            lines: list[str] = []
            for t in tiling.tiles:
                known[f"{macro}({name}_{t.rows}, {t.rows}, {how})"] = None
                lines.append(f"  for (int r = {t.row}; r < {t.end_row}; r += {t.rows}) {name}_{t.rows}({arguments});")
            choices.append(lines)
        return _for_each_unit(choices, U8)

    def _block(self, block: Block, suffix: str, how: str) -> list[str]:
        """Statements for `block.count` blocks of rows, with each unit's own tiles."""
        tiles = [
            self._calls(unit, tiling, suffix, how)
            for unit, tiling in zip(UNITS[self._number.name], block.tilings, strict=True)
        ]
        lines = [f"  p.rows = {block.rows};", *_for_each_unit(tiles, self._number), f"    next_rows(&p, {block.rows});"]
        if self._weight != FLOAT32:
            lines.insert(1, f"  p.factors = factors_of(p.weights, p.inner * {block.rows}, room);")
        if block.count > 1:
            lines = [f"  for (int block = 0; block < {block.count}; block++) {{", *lines, "  }"]
        return lines

    def _calls(self, unit: VectorUnit, tiling: Tiling, suffix: str, how: str) -> list[str]:
        """The loops over a block's tiles on one unit, whose tile functions are noted."""
        known, lines = self._tiles[unit.condition], []
        for t in tiling.tiles:
            tile = f"product_{t.rows}x{t.vectors}{suffix}"
            known[f"PRODUCT_TILE({tile}, {t.rows}, {t.vectors}, {how})"] = None
            lines.append(f"    TILES({tile}, {t.rows}, {t.vectors}, {t.row}, {t.end_row}, {t.vector}, {t.end_vector});")
        for t in tiling.pixel_tiles:
            tile = f"product_pixels_{t.pixels}x{t.vectors}{suffix}"
            known[f"PRODUCT_PIXELS({tile}, {t.pixels}, {t.vectors}, {t.chains}, {how})"] = None
            lines.append(f"    PIXELS({tile}, {t.pixels}, {t.pixel}, {t.end_pixel});")
        return lines


def _for_each_unit(lines: list[list[str]], element: Element = FLOAT32) -> list[str]:
    """The preprocessor's choice among the lines for each vector unit."""
    chosen = []
    for unit, own in zip(UNITS[element.name], lines, strict=True):
        chosen += [f"{'#elif' if chosen else '#if'} {unit.condition}", *own]
    return [*chosen, "#endif"]


def _declare_table(name: str, kind: str, values: tuple[float, ...]) -> str:
    texts = [number(value) if kind == "float" else str(value) for value in values]
    rows = ",\n  ".join(", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16))
    return f"static const {kind} {name}[{len(values)}] = {{\n  {rows}}};\n"


def _matrices_function(matrices: dict[str, list[str]]) -> str:
    """What kernels/winograd.c leaves to be written: y = matrix × x, for each matrix by name."""
    lines = [
        f"enum {{ {', '.join(matrices)} }};",
        "KERNEL void winograd_transform(const int matrix, const vec *x, vec *y) {",
        "  switch (matrix) {",
    ]
    for name, statements in matrices.items():
        lines += [f"    case {name}: {{", *(f"      {statement}" for statement in statements), "      break;", "    }"]
    return "\n".join([*lines, "  }", "}\n"])


def _input_statements(transform: Transform) -> Iterator[str]:
    """Rows of points p and -p share the sums of even and of odd powers: one is even + odd, the other even - odd."""
    x = [f"x[{i}]" for i in range(transform.size)]
    matrix = transform.input_matrix
    yield f"y[0] = {_sum(matrix[0], x)};"
    for i in range(1, transform.size - 1, 2):
        pair = list(zip(matrix[i], matrix[i + 1], strict=True))
        yield f"const vec even_{i} = {_sum([(a + b) / 2 for a, b in pair], x)};"
        yield f"const vec odd_{i} = {_sum([(a - b) / 2 for a, b in pair], x)};"
        yield f"y[{i}] = even_{i} + odd_{i};"
        yield f"y[{i + 1}] = even_{i} - odd_{i};"
    yield f"y[{transform.size - 1}] = {_sum(matrix[-1], x)};"


def _output_statements(transform: Transform) -> Iterator[str]:
    """Columns of points p and -p are alike in even powers and opposite in odd ones."""
    last = transform.size - 1
    for i in range(1, last, 2):
        yield f"const vec sum_{i} = x[{i}] + x[{i + 1}];"
        yield f"const vec difference_{i} = x[{i}] - x[{i + 1}];"
    for power, row in enumerate(transform.output_matrix):
        halves = [f"{'difference' if power % 2 else 'sum'}_{i}" for i in range(1, last, 2)]
        yield f"y[{power}] = {_sum((row[0], *row[1:last:2], row[last]), ['x[0]', *halves, f'x[{last}]'])};"


def _sum(coefficients: Sequence[Fraction], names: Sequence[str]) -> str:
    """A sum of products, without those by 0 and 1."""
    text = ""
    for coefficient, name in zip(coefficients, names, strict=True):
        assert Fraction(float(np.float32(coefficient))) == coefficient
        if coefficient:
            sign = (" - " if text else "-") if coefficient < 0 else (" + " if text else "")
            size = abs(coefficient)
            text += sign + (name if size == 1 else f"{name} * {number(float(size))}")
    return text
