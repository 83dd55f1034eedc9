"""Plan → C text. Pure and deterministic: the same plan gives the same bytes. Everything is decided already; this spells it out."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatchmethod
from importlib import resources

import numpy as np

from shufflenet.compiler import steps
from shufflenet.compiler.ir import Activation
from shufflenet.compiler.steps import Block, Plan, Planes, Step, Window
from shufflenet.compiler.tiles import MACHINES

EMBED_BYTES = 32 * 1024 * 1024  # weights up to here go into the source

# Kernel files in the order in which they build on each other, and the steps that need them.
_KERNELS: dict[str, tuple[type[Step], ...]] = {
    "vectors": (Step,),
    "activation": (Step,),
    "product": (steps.Product, steps.PanelProduct, steps.VectorProduct, steps.Stem),
    "vector": (steps.VectorProduct,),
    "panels": (steps.PanelProduct, steps.VectorProduct, steps.Depthwise, steps.PoolPlanes),
    "depthwise": (steps.Depthwise,),
    "depthwise_any": (steps.Depthwise,),
    "pixels": (Step,),
    "stem": (steps.Stem,),
    "pool": (steps.PoolPlanes,),
    "planes": (Step,),
    "resample": (steps.ResamplePlanes,),
    "channels": (steps.LocalResponse, steps.SoftmaxPlanes),
}


@dataclass(frozen=True)
class Pixels:
    """How 8-bit RGB becomes a network's input: channel c is byte order[c] of a pixel · scale[c] + shift[c]."""

    order: tuple[int, ...]
    scale: tuple[float, ...]
    shift: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """The text of NAME.c and NAME.h, and the bytes of NAME.bin where the weights are not in the source."""

    name: str
    c: str
    h: str
    weights: bytes | None


def emit(
    plan: Plan, name: str, *, title: str, version: str, pixels: Pixels | None = None, embed: bool | None = None
) -> Source:
    """The C source of a plan, every public name beginning with `name`. `title` says in the header comment what it computes."""
    if embed is None:
        embed = plan.weights.nbytes <= EMBED_BYTES
    return _Emitter(plan, name, title, version, pixels, embed).source()


def main_program(source: Source) -> str:
    """A program that classifies a PPM picture with a source that has NAME_run_rgb8."""
    text = (resources.files("shufflenet.compiler.kernels") / "main.c").read_text(encoding="utf-8")
    return re.sub(r"NAME_(?!run)", f"{source.name.upper()}_", text).replace("NAME", source.name)


def number(value: float) -> str:
    """A float32 as a C constant, exactly."""
    value = float(np.float32(value))
    if np.isinf(value):
        return "__builtin_inff()" if value > 0 else "-__builtin_inff()"
    return f"{value!r}f"


class _Emitter:
    """Collects the parts of the text that steps share: tables of plane addresses, tiles, tilings."""

    def __init__(self, plan: Plan, name: str, title: str, version: str, pixels: Pixels | None, embed: bool) -> None:
        self.plan, self.name, self.title, self.version, self.pixels, self.embed = (
            plan,
            name,
            title,
            version,
            pixels,
            embed,
        )
        self.macro = re.sub(r"\W", "_", name).upper()
        self.tables: dict[tuple[str, tuple], str] = {}
        self.tiles: dict[str, dict[str, None]] = {m.condition: {} for m in MACHINES}
        self.drivers: dict[str, str] = {}

    def source(self) -> Source:
        functions = [self._function(i, step) for i, step in enumerate(self.plan.steps)]
        run = self._run_function(functions, pixels=False)  # before the tables are written: it adds some
        if self.pixels:
            run += self._run_function(functions, pixels=True)
        raw = self.plan.weights.astype("<f4").tobytes()
        parts = [
            self._comment(hashlib.sha256(raw).hexdigest()),
            f'#include "{self.name}.h"\n\n#include <string.h>\n',
            *self._kernels(),
            *(_declare_table(kind, values, table) for (kind, values), table in self.tables.items()),
            self._tile_functions(),
            *self.drivers.values(),
            *functions,
            self._embedded(raw) if self.embed and any("(const float *w" in f for f in functions) else "",
            run,
        ]
        return Source(self.name, "\n".join(p for p in parts if p), self._header(), None if self.embed else raw)

    # The text around the steps.

    def _comment(self, digest: str) -> str:
        place = (
            "in this file" if self.embed else f"{self.name}.bin, which the caller loads or maps, aligned to 64 bytes"
        )
        lines = [
            f"{self.title}",
            "",
            f"Written by shufflenet {self.version}; do not edit.",
            f"Multiply-adds: {self.plan.multiply_adds:,}. Arena: {self.plan.arena_bytes:,} bytes.",
            f"Weights: {self.plan.weights.nbytes:,} bytes, {place}; SHA-256 {digest}.",
            "",
            "Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may",
            "run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES",
            "floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's",
            "instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math.",
        ]
        return "/* " + "\n   ".join(lines).replace("\n   \n", "\n\n") + " */"

    def _kernels(self) -> Iterator[str]:
        kinds = tuple(type(step) for step in self.plan.steps)
        folder = resources.files("shufflenet.compiler.kernels")
        for file, users in _KERNELS.items():
            if any(issubclass(kind, users) for kind in kinds):
                yield (folder / f"{file}.c").read_text(encoding="utf-8")

    def _tile_functions(self) -> str:
        lines = []
        for i, (condition, macros) in enumerate(self.tiles.items()):
            if any(self.tiles.values()):
                lines += [f"{'#elif' if i else '#if'} {condition}", *macros]
        return "\n".join([*lines, "#endif\n"]) if lines else ""

    def _embedded(self, raw: bytes) -> str:
        rows = "\n".join(_string(raw[i : i + 64]) for i in range(0, len(raw), 64))
        return (
            "/* Float32 numbers, as the bytes of a string: compilers read that in a fraction of the time of a list of numbers. */\n"
            f"static const union {{\n  _Alignas(64) char bytes[{len(raw) + 1}];\n  float numbers[{len(raw) // 4}];\n}} embedded = {{\n"
            f"{rows}}};\n"
        )

    def _parameters(self, *, pixels: bool = False) -> str:
        inputs = (
            ["const uint8_t *pixels", "ptrdiff_t row_stride"] if pixels else self._arguments("input", "const float *")
        )
        weights = [] if self.embed else ["const float *weights"]
        return ", ".join([*weights, *inputs, *self._arguments("output", "float *"), "void *arena"])

    def _arguments(self, word: str, kind: str = "") -> list[str]:
        ports = self.plan.inputs if word == "input" else self.plan.outputs
        return [f"{kind}{word}" if len(ports) == 1 else f"{kind}{word}_{i}" for i in range(len(ports))]

    def _header(self) -> str:
        m, plan = self.macro, self.plan
        lines = [
            f"/* {self.title} */",
            f"#ifndef {m}_H",
            f"#define {m}_H",
            "",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
        ]
        for word, ports in (("INPUT", plan.inputs), ("OUTPUT", plan.outputs)):
            for port, suffix in zip(ports, self._arguments(word.lower()), strict=True):
                macro = f"{m}_{suffix.upper()}"
                lines.append(f"/* {port.name}: {' × '.join(map(str, port.shape))} */")
                lines.append(f"#define {macro}_FLOATS {int(np.prod(port.shape))}")
                if len(port.shape) == 4:
                    for size, value in zip(("CHANNELS", "HEIGHT", "WIDTH"), port.shape[1:], strict=True):
                        lines.append(f"#define {macro}_{size} {value}")
        lines += [f"#define {m}_ARENA_BYTES {plan.arena_bytes}", f"#define {m}_WEIGHTS_BYTES {plan.weights.nbytes}"]
        if not self.embed:
            lines += ["/* What `weights` points to: this file's contents, aligned to 64 bytes. */"]
            lines += [f'#define {m}_WEIGHTS_FILE "{self.name}.bin"']
        lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
        lines.append(f"/* `arena`: {m}_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */")
        lines.append(f"void {self.name}_run({self._parameters()});")
        if self.pixels:
            lines.append(
                "/* 8-bit RGB pixels, rows `row_stride` bytes apart, normalised as the network was trained. */"
            )
            lines.append(f"void {self.name}_run_rgb8({self._parameters(pixels=True)});")
        lines += ["", "#ifdef __cplusplus", "}", "#endif", "#endif", ""]
        return "\n".join(lines)

    def _run_function(self, functions: list[str], *, pixels: bool) -> str:
        weights = "embedded.numbers" if self.embed else "weights"
        lines = [f"void {self.name}_run{'_rgb8' if pixels else ''}({self._parameters(pixels=pixels)}) {{"]
        lines.append("  float *const a = aligned(arena);")
        for i, (step, function) in enumerate(zip(self.plan.steps, functions, strict=True)):
            arguments = [weights, "a"] if "(const float *w" in function else ["a"]
            port = _port(step)
            if port is not None:
                arguments.append("NULL" if pixels else self._arguments("input")[port])
                arguments += ["pixels", "row_stride"] if pixels else ["NULL", "0"] if self.pixels else []
            lines.append(f"  step_{i}({', '.join(arguments)});")
            lines.append(f"  PROFILE({i});")
        for argument, port in zip(self._arguments("output"), self.plan.outputs, strict=True):
            lines.append(
                f"  copy_planes({port.size}, {len(port.planes.starts)}, a + {port.planes.offset}, "
                f"{self.starts(port.planes)}, {argument}, {self.table('int32_t', _dense(port.planes, port.size))});"
            )
        return "\n".join(lines) + "\n}\n\n"

    # Parts that steps share.

    def table(self, kind: str, values: Sequence) -> str:
        """The name of a constant table with these values."""
        return self.tables.setdefault((kind, tuple(values)), f"table_{len(self.tables)}")

    def starts(self, planes: Planes | None) -> str:
        return self.table("int32_t", planes.starts) if planes else "NULL"

    def pack_tiles(
        self, pixels: int, blocks: tuple[Block, ...], flags: tuple[str, ...], activation: Activation | None
    ) -> str:
        """The name of the function that multiplies one group: its tiles for each machine."""
        kind = _kind(activation)
        suffix = "".join(f"_{flag.lower()}" for flag in (*flags, kind) if flag != "NONE")
        rows = sum(block.count * block.rows for block in blocks)
        name = f"multiply_{rows}x{pixels}_by_{'_'.join(str(b.rows) for b in blocks)}{suffix}"
        if name in self.drivers:
            return name
        mask = " | ".join(flags) or "0"
        lines = [f"/* {rows} rows × {pixels} pixels. */", f"ROUTINE void {name}(struct product p) {{"]
        for b, block in enumerate(blocks):
            last = b == len(blocks) - 1
            lines.append(f"  p.rows = {block.rows};")
            loop = block.count > 1
            if loop:
                lines.append(f"  for (int block = 0; block < {block.count}; block++) {{")
            for i, (machine, tiling) in enumerate(zip(MACHINES, block.tilings, strict=True)):
                lines.append(f"{'#elif' if i else '#if'} {machine.condition}")
                for t in tiling.tiles:
                    tile = f"product_{t.rows}x{t.vectors}{suffix}"
                    self.tiles[machine.condition][f"PRODUCT_TILE({tile}, {t.rows}, {t.vectors}, {mask}, {kind})"] = None
                    lines.append(
                        f"    TILES({tile}, {t.rows}, {t.vectors}, {t.row}, {t.end_row}, {t.vector}, {t.end_vector});"
                    )
                if tiling.end_pixel > tiling.pixel:
                    tile = f"product_pixel_{tiling.pixel_vectors}{suffix}"
                    self.tiles[machine.condition][f"PRODUCT_PIXEL({tile}, {tiling.pixel_vectors}, {mask}, {kind})"] = (
                        None
                    )
                    lines.append(f"    PIXELS({tile}, {tiling.pixel}, {tiling.end_pixel});")
            lines.append("#endif")
            if loop or not last:
                lines.append(f"    next_rows(&p, {block.rows});")
            if loop:
                lines.append("  }")
        self.drivers[name] = "\n".join([*lines, "}\n"])
        return name

    def product(
        self, step: steps.Product | steps.PanelProduct | steps.VectorProduct | steps.Stem, **changes: str
    ) -> str:
        """The initializer of a struct product."""
        addend = getattr(step, "addend", None)
        values = {
            "weights": f"w + {step.weights}",
            "bias": f"w + {step.bias}",
            "input": f"a + {step.input.offset}",
            "output": f"a + {step.output.offset}",
            "to": self.starts(step.output),
            **({"addend": f"a + {addend.offset}"} if addend else {}),
            "from": self.starts(addend or step.output),
            **_activation_fields(step.activation),
            **changes,
        }
        return "{" + ", ".join(f".{key} = {value}" for key, value in values.items()) + "}"

    # One function a step.

    def _function(self, index: int, step: Step) -> str:
        body = "\n".join(f"  {line}" for line in self.body(step))
        parameters = ["const float *w"] if "w + " in body else []
        parameters += ["float *a"]
        if _port(step) is not None:
            parameters += ["const float *input"]
            parameters += ["const uint8_t *pixels", "ptrdiff_t row_stride"] if self.pixels else []
        return f"/* {step.name}: {step.comment} */\nstatic void step_{index}({', '.join(parameters)}) {{\n{body}\n}}\n"

    @singledispatchmethod
    def body(self, step: Step) -> Iterator[str]:
        raise TypeError(f"{type(step).__name__} has no C")

    @body.register
    def _(self, step: steps.Product) -> Iterator[str]:
        rows = len(step.output.starts) // step.groups
        starts = step.input.starts
        first = step.input.offset + starts[0]
        stride = starts[1] - starts[0] if len(starts) > 1 else 0
        yield f"struct product p = {self.product(step, input=f'a + {first}', input_stride=str(stride), inner=str(step.part))};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        for part in range(0, step.inner, step.part):
            count = min(step.part, step.inner - part)
            multiply = self.pack_tiles(step.pixels, step.blocks, *_ends(step, part, count))
            if count != step.part:
                yield f"  p.inner = {count};"
            yield f"  {multiply}(p);"
            yield f"  p.weights += {rows * count}, p.input += {count * stride};"
        if step.inner % step.part:
            yield f"  p.inner = {step.part};"
        yield f"  p.bias += {rows}, p.to += {rows}, p.from += {rows};"
        yield "}"

    @body.register
    def _(self, step: steps.PanelProduct) -> Iterator[str]:
        rows = len(step.output.starts) // step.groups
        channels = len(step.input.starts) // step.groups
        yield f"float *const panel = a + {step.scratch};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        yield f"  const int32_t *const from = {self.starts(step.input)} + group * {channels};"
        for chunk in step.chunks:
            yield f"  for (int first = {chunk.first}; first < {chunk.end}; first += {chunk.count}) {{"
            for part in range(0, step.inner, step.panel_inner):
                end = min(part + step.panel_inner, step.inner)
                multiply = self.pack_tiles(chunk.count, chunk.blocks, *_ends(step, part, end - part))
                window = _window(step.window, "first", chunk.count)
                yield f"    pack_panel({window}, a + {step.input.offset}, from, {part}, {end}, panel, {step.panel_stride});"
                changes = {
                    "weights": f"w + {step.weights} + {rows} * ({step.inner} * group + {part})",
                    "bias": f"w + {step.bias} + {rows} * group",
                    "input": "panel",
                    "output": f"a + {step.output.offset} + first",
                    "to": f"{self.starts(step.output)} + {rows} * group",
                    "from": f"{self.starts(step.addend or step.output)} + {rows} * group",
                    "input_stride": str(step.panel_stride),
                    "inner": str(end - part),
                }
                if step.addend:
                    changes["addend"] = f"a + {step.addend.offset} + first"
                yield f"    {multiply}((struct product){self.product(step, **changes)});"
            yield "  }"
        yield "}"

    @body.register
    def _(self, step: steps.VectorProduct) -> Iterator[str]:
        channels = len(step.input.starts) // step.groups
        flags = "ADD" if step.addend else "0"
        padded = -(-step.rows // 32) * 32
        yield f"struct product p = {self.product(step, inner=str(step.inner))};"
        yield f"for (int group = 0; group < {step.groups}; group++) {{"
        if step.gather:
            yield f"  const int32_t *const from = {self.starts(step.input)} + group * {channels};"
            yield f"  pack_panel({_window(step.window, 0, 1)}, a + {step.input.offset}, from, 0, {step.inner}, a + {step.scratch}, 1);"
            yield f"  p.input = a + {step.scratch};"
        else:
            yield f"  p.input = a + {step.input.offset + step.input.starts[0]} + group * {step.inner};"
        yield f"  matrix_times_vector({flags}, {_kind(step.activation)}, p, {step.rows});"
        yield f"  p.weights += {padded * step.inner};"
        yield f"  p.bias += {padded};"
        yield f"  p.to += {step.rows};"
        yield f"  p.from += {step.rows};"
        yield "}"

    @body.register
    def _(self, step: steps.Depthwise) -> Iterator[str]:
        w, kind, planes = step.window, _kind(step.activation), len(step.output.starts)
        operands = f"w + {step.weights}, w + {step.bias}, {self._in(step.input)}, {self._in(step.output)}"
        if step.direct:
            yield f"depthwise_planes({w.stride[0]}, {w.height}, {w.width}, {kind}, {planes}, {operands}, {_limits(step)});"
        else:
            addend = self._in(step.addend) if step.addend else "NULL, NULL"
            yield f"depthwise_any({_window(w, 0, 0)}, {w.output_height}, {kind}, {planes}, {operands}, {addend}, {_limits(step)});"

    @body.register
    def _(self, step: steps.Stem) -> Iterator[str]:
        split = 2 * step.segment + 16
        taps = [
            (y * step.channels + c) * split + (15, 16 + step.segment, 16)[x]
            for c, y, x in np.ndindex(step.channels, 3, 3)
        ]
        to = tuple(f * (step.segment + 16) for f in range(step.filters))
        multiply = self.pack_tiles(step.convolution_size[1], step.blocks, ("TAPS",), step.activation)
        changes = {
            "to": self.table("int32_t", to),
            "from": self.table("int32_t", to),
            "taps": self.table("int32_t", taps),
            "inner": str(len(taps)),
        }
        product = self.product(step, **changes).replace(f".input = a + {step.input.offset}, ", "")
        yield f"const struct product p = {product};"
        sizes = ", ".join(
            map(str, (*step.size, step.channels, step.filters, *step.convolution_size, *step.output_size, step.segment))
        )
        rgb, source = "NULL, NULL, NULL", "input, NULL, 0"
        if self.pixels:
            tables = (
                self.table("float", self.pixels.scale),
                self.table("float", self.pixels.shift),
                self.table("int32_t", self.pixels.order),
            )
            rgb, source = ", ".join(tables), "input, pixels, row_stride"
        yield f"stem_planes({sizes}, {source}, {rgb},"
        yield f"            {multiply}, p, {self.starts(step.output)}, a + {step.scratch}, a + {step.output.offset});"

    @body.register
    def _(self, step: steps.PoolPlanes) -> Iterator[str]:
        w, planes = step.window, len(step.output.starts)
        scales = (
            "NULL, NULL"
            if step.largest
            else f"{self.table('float', step.row_scale)}, {self.table('float', step.column_scale)}"
        )
        yield f"pool_planes({int(step.largest)}, {_window(w, 0, 0)}, {w.output_height}, {_kind(step.activation)}, {planes},"
        yield f"            {self._in(step.input)}, {self._in(step.output)}, {scales}, {_limits(step)}, a + {step.scratch});"

    @body.register
    def _(self, step: steps.Reduce) -> Iterator[str]:
        yield f"reduce_planes({int(step.largest)}, {step.size}, {self._common(step, step.input)}, {_limits(step)});"

    @body.register
    def _(self, step: steps.ResamplePlanes) -> Iterator[str]:
        sizes = f"{int(step.from_left)}, {step.rows}, {step.inner}, {step.columns}"
        yield f"resample_planes({sizes}, w + {step.weights}, {self._plain(step, step.input)});"

    @body.register
    def _(self, step: steps.Combine) -> Iterator[str]:
        addend = self._in(step.addend) if step.addend else "NULL, NULL"
        how = f"{int(step.multiply)}, {int(step.right_is_number)}, {step.size}, {_kind(step.activation)}"
        yield f"combine_planes({how}, {len(step.output.starts)},"
        yield f"               {self._in(step.left)}, {self._in(step.right)}, {addend}, {self._in(step.output)}, {_limits(step)});"

    @body.register
    def _(self, step: steps.ActivatePlanes) -> Iterator[str]:
        yield f"activate_planes({step.size}, {self._common(step, step.input)}, {_limits(step)});"

    @body.register
    def _(self, step: steps.LocalResponse) -> Iterator[str]:
        numbers = ", ".join(map(number, (step.scale, step.beta, step.bias)))
        yield f"local_response({step.before}, {step.after}, {step.size}, {numbers}, {self._plain(step, step.input)});"

    @body.register
    def _(self, step: steps.SoftmaxPlanes) -> Iterator[str]:
        yield f"softmax({step.size}, {self._plain(step, step.input)});"

    @body.register
    def _(self, step: steps.PadPlanes) -> Iterator[str]:
        sizes = ", ".join(map(str, (*step.size, *step.padding)))
        yield f"pad_planes({sizes}, {number(step.value)}, {self._plain(step, step.input)});"

    @body.register
    def _(self, step: steps.CopyPlanes) -> Iterator[str]:
        if step.input.port is None:
            yield f"copy_planes({step.size}, {self._plain(step, step.input)});"
            return
        port = self.plan.inputs[step.input.port]
        to = self.starts(step.output)
        copy = f"copy_planes({step.size}, {len(step.output.starts)}, input, {self.starts(step.input)}, a + {step.output.offset}, {to});"
        if not self.pixels:
            yield copy
            return
        height, width = port.shape[2:]
        scale, shift = self.table("float", self.pixels.scale), self.table("float", self.pixels.shift)
        order = self.table("int32_t", self.pixels.order)
        yield f"if (!pixels) {copy}"
        yield f"else for (int c = 0; c < {port.shape[1]}; c++)"
        yield f"  for (int y = 0; y < {height}; y++)"
        channel = f"{order}[c], {scale}[c], {shift}[c]"
        row = f"a + {step.output.offset} + {to}[c] + y * {width}"
        yield f"    unpack_row(pixels + y * row_stride, {width}, {channel}, {row});"

    def _in(self, planes: Planes) -> str:
        return f"a + {planes.offset}, {self.starts(planes)}"

    def _plain(self, step: Step, source: Planes) -> str:
        return f"{len(step.output.starts)}, {self._in(source)}, {self._in(step.output)}"

    def _common(self, step: Step, source: Planes) -> str:
        return f"{_kind(step.activation)}, {self._plain(step, source)}"


def _ends(step: steps.Product | steps.PanelProduct, part: int, count: int) -> tuple[tuple[str, ...], Activation | None]:
    """How the product of a part of inner begins and ends: the first takes the addend in, which the output may lie over."""
    flags = ("RESUME",) if part else ("ADD",) if step.addend else ()
    return flags, step.activation if part + count == step.inner else None


def _dense(planes: Planes, size: int) -> tuple[int, ...]:
    return tuple(range(0, len(planes.starts) * size, size))


def _port(step: Step) -> int | None:
    """The number of the network input that a step reads."""
    planes = getattr(step, "input", None)
    return planes.port if planes else None


def _kind(activation: Activation | None) -> str:
    return activation.kind.upper() if activation else "NONE"


def _limits(step: Step) -> str:
    alpha, beta = (step.activation.alpha, step.activation.beta) if step.activation else (0, 0)
    return f"{number(alpha)}, {number(beta)}"


def _activation_fields(activation: Activation | None) -> dict[str, str]:
    if activation is None or activation.kind not in ("clip", "leaky_relu", "hard_sigmoid"):
        return {}
    return {"alpha": number(activation.alpha), "beta": number(activation.beta)}


def _window(w: Window, first: int | str, count: int) -> str:
    values = (w.height, w.width, w.output_width, *w.kernel, *w.stride, *w.padding, *w.dilation, first, count)
    return f"(struct window){{{', '.join(map(str, values))}}}"


def _declare_table(kind: str, values: tuple, name: str) -> str:
    texts = [str(v) if kind == "int32_t" else number(v) for v in values]
    rows = ",\n  ".join(", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16))
    return f"static const {kind} {name}[{len(values)}] = {{\n  {rows}}};\n"


_ESCAPED = [chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in range(256)]


def _string(raw: bytes) -> str:
    return '"' + "".join(_ESCAPED[b] for b in raw) + '"'
