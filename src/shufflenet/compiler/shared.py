"""Parts of the C text that steps share: tables of numbers, and products of one shape. Each is written once."""

from collections.abc import Sequence

import numpy as np

from shufflenet.compiler.ir import Activation
from shufflenet.compiler.steps import Block, Planes
from shufflenet.compiler.tiles import MACHINES, Machine, Tiling


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


class Shared:
    """Collects what steps ask for by the names that it hands out, and writes it in the order of asking."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, tuple], str] = {}
        self._tiles: dict[str, dict[str, None]] = {
            machine.condition: {} for machine in MACHINES
        }  # dicts as ordered sets
        self._multiplications: dict[str, str] = {}

    def text(self) -> str:
        """All of it: tables, tiles for each machine, and the products made of them."""
        parts = [_declare_table(name, kind, values) for (kind, values), name in self._tables.items()]
        if any(self._tiles.values()):
            tiles = _for_each_machine([list(self._tiles[machine.condition]) for machine in MACHINES])
            parts.append("\n".join(tiles) + "\n")
        return "\n".join([*parts, *self._multiplications.values()])

    def table(self, kind: str, values: Sequence[float]) -> str:
        """The name of a constant table with these values; `kind` is "float" or "int32_t"."""
        return self._tables.setdefault((kind, tuple(values)), f"table_{len(self._tables)}")

    def starts(self, planes: Planes | None) -> str:
        """The name of the table of where planes start; NULL for no planes."""
        return self.table("int32_t", planes.starts) if planes else "NULL"

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
            for block in blocks:
                lines += self._block(block, suffix, f"{' | '.join(flags) or '0'}, {kind}")
            self._multiplications[name] = "\n".join([*lines, "}\n"])
        return name

    def _block(self, block: Block, suffix: str, how: str) -> list[str]:
        """Statements for `block.count` blocks of rows, with each machine's own tiles."""
        tiles = [
            self._calls(machine, tiling, suffix, how) for machine, tiling in zip(MACHINES, block.tilings, strict=True)
        ]
        lines = [f"  p.rows = {block.rows};", *_for_each_machine(tiles), f"    next_rows(&p, {block.rows});"]
        if block.count > 1:
            lines = [f"  for (int block = 0; block < {block.count}; block++) {{", *lines, "  }"]
        return lines

    def _calls(self, machine: Machine, tiling: Tiling, suffix: str, how: str) -> list[str]:
        """The loops over a block's tiles on one machine, whose tile functions are noted."""
        known, lines = self._tiles[machine.condition], []
        for t in tiling.tiles:
            tile = f"product_{t.rows}x{t.vectors}{suffix}"
            known[f"PRODUCT_TILE({tile}, {t.rows}, {t.vectors}, {how})"] = None
            lines.append(f"    TILES({tile}, {t.rows}, {t.vectors}, {t.row}, {t.end_row}, {t.vector}, {t.end_vector});")
        for t in tiling.pixel_tiles:
            tile = f"product_pixels_{t.pixels}x{t.vectors}{suffix}"
            known[f"PRODUCT_PIXELS({tile}, {t.pixels}, {t.vectors}, {t.chains}, {how})"] = None
            lines.append(f"    PIXELS({tile}, {t.pixels}, {t.pixel}, {t.end_pixel});")
        return lines


def _for_each_machine(lines: list[list[str]]) -> list[str]:
    """The preprocessor's choice among the lines for each of MACHINES."""
    chosen = []
    for machine, own in zip(MACHINES, lines, strict=True):
        chosen += [f"{'#elif' if chosen else '#if'} {machine.condition}", *own]
    return [*chosen, "#endif"]


def _declare_table(name: str, kind: str, values: tuple[float, ...]) -> str:
    texts = [str(value) if kind == "int32_t" else number(value) for value in values]
    rows = ",\n  ".join(", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16))
    return f"static const {kind} {name}[{len(values)}] = {{\n  {rows}}};\n"
