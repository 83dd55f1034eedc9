"""Plan → C text. Pure and deterministic: the same plan gives the same bytes. Everything is decided already; this spells it out."""

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from math import prod

from shufflenet.compiler.c.addresses import at
from shufflenet.compiler.c.definitions import Definitions, comment
from shufflenet.compiler.c.functions import StepFunctions, input_port
from shufflenet.compiler.c.parallel import dealt_step, task_functions
from shufflenet.compiler.c.source import CSource, Output, Pixels, Signature
from shufflenet.compiler.c.units import takes_scratch
from shufflenet.compiler.graph.elements import FLOAT16, FLOAT32
from shufflenet.compiler.plan import integer_steps, plane_steps, steps
from shufflenet.compiler.plan.parts import Part, parts, whole
from shufflenet.compiler.plan.steps import Plan, PlannedPort, Step

EMBED_BYTES = 32 * 1024 * 1024  # weights up to here go into the source

_ON_CODES = (
    integer_steps.IntegerStep,
    integer_steps.LookupPlanes,
    integer_steps.QuantizePlanes,
    integer_steps.DequantizePlanes,
    integer_steps.PadBytes,
    integer_steps.CopyBytes,
    integer_steps.RepeatBytes,
)

_FROM_PIXELS = ("run_rgb8", "run_rgb8_on", "run_gray8", "run_gray8_on")

# Kernel files in the order in which they build on each other, and the steps that need them.
_KERNELS: dict[str, tuple[type[Step], ...]] = {
    "vectors": (Step,),
    "halves": (Step,),
    "activation": (Step,),
    "product": (steps.Product, steps.PanelProduct, steps.VectorProduct, steps.Stem),
    "vector": (steps.VectorProduct,),
    "panels": (steps.PanelProduct, steps.VectorProduct, steps.Depthwise, plane_steps.PoolPlanes, *_ON_CODES),
    "winograd": (steps.WinogradProduct,),
    "depthwise": (steps.Depthwise,),
    "depthwise_any": (steps.Depthwise,),
    "pixels": (Step,),
    "stem": (steps.Stem,),
    "pool": (plane_steps.PoolPlanes,),
    "planes": (Step,),
    "resample": (plane_steps.ResamplePlanes, plane_steps.RepeatPlanes),
    "integer_vectors": _ON_CODES,
    "integer_product": (integer_steps.IntegerProduct, integer_steps.IntegerDepthwise),
    "integer_depthwise": (integer_steps.IntegerDepthwise,),
    "integer_planes": _ON_CODES,
    "integer_stem": (integer_steps.IntegerStem,),
    "integer_windows": _ON_CODES,
    "channels": (plane_steps.LocalResponse, plane_steps.SoftmaxPlanes),
}


def emit(
    plan: Plan,
    name: str,
    *,
    title: str,
    version: str,
    pixels: Pixels | None = None,
    embed: bool | None = None,
    timed: bool = False,
    apart: bool = False,
) -> CSource:
    """The C source of a plan, every public name beginning with `name`. `title` says in the header comment what it computes.

    `timed` adds NAME_run_timed at the end; what is before it does not change by a byte. `apart` is for a graph of several networks:
    in NAME_run's place there is NAME_run_INPUT for each input, with the outputs that follow from it.
    """
    signature = Signature(
        name=name,
        input_shapes=tuple(port.shape[1:] for port in plan.inputs),
        outputs=tuple(Output(port.shape, port.batch, len(port.planes.starts) * port.size) for port in plan.outputs),
        arena_bytes=plan.arena_bytes,
        worker_bytes=plan.worker_bytes,
        weights_bytes=plan.weights.nbytes,
        multiply_adds=plan.multiply_adds,
        embedded=plan.weights.nbytes <= EMBED_BYTES if embed is None else embed,
        takes_pixels=pixels is not None,
        timed_steps=len(plan.steps) if timed else 0,
    )
    return _Emitter(plan, signature, pixels, apart).source(title, version)


def main_program(source: CSource) -> str:
    """A program that classifies a PPM picture with NAME_run_rgb8, a PGM picture with NAME_run_gray8; with -DTHREADS=2 on two threads."""
    text = re.sub(r"NAME_(?!run)", f"{source.name.upper()}_", _kernel("main")).replace("NAME", source.name)
    if source.signature.run_pixels == "run_gray8":
        text = text.replace("run_rgb8", "run_gray8").replace("P6", "P5").replace(".ppm", ".pgm")
    return text.replace(" */", f"\n   {source.numbers} */", 1) if source.numbers else text


def threads_header() -> str:
    """threads.h: a parallel_for for NAME_run_on on pthreads, in C or C++."""
    return (resources.files("shufflenet.compiler.c.kernels") / "threads.h").read_text(encoding="utf-8")


class _Emitter:
    """The text around the steps' functions, which a header, a comment and every NAME_run must agree on."""

    def __init__(self, plan: Plan, signature: Signature, pixels: Pixels | None, apart: bool) -> None:
        self.plan = plan
        self.parts = {"run": whole(plan)}
        if apart:
            self.parts = {f"run_{plan.inputs[part.inputs[0]].name}": part for part in parts(plan)}
        kinds = ("run_on", f"{signature.run_pixels}_on") if pixels else ("run_on",)
        self.on_threads = () if apart else kinds
        self.signature = signature
        self.name, self.macro = signature.name, signature.name.upper()
        self.definitions = Definitions(plan.number, plan.weight)
        self.functions = StepFunctions(plan.inputs, pixels, self.definitions)

    def source(self, title: str, version: str) -> CSource:
        functions = [self.functions.function(f"step_{i}", step) for i, step in enumerate(self.plan.steps)]
        runs = [self._run(kind, part) for kind, part in self.parts.items()]
        if self.signature.takes_pixels:
            runs.append(self._run(self.signature.run_pixels, whole(self.plan)))
        if self.on_threads:
            runs += task_functions(self.plan, self.functions, lambda step: self._operands(step, "task"))
        runs += [self._run(kind, whole(self.plan)) for kind in self.on_threads]
        if self.signature.timed_steps:
            runs += [_kernel("clock"), self._run("run_timed", whole(self.plan))]
        weights = self.plan.weights.tobytes()
        parts = [
            self._comment(title, version, hashlib.sha256(weights).hexdigest()),
            f'#include "{self.name}.h"\n\n#include <string.h>\n',
            *self._kernels(),
            self.definitions.text(),  # after the functions and runs, which fill it
            *functions,
            *(
                [_embedded(weights, self.plan.weight.name.capitalize())]
                if self.signature.embedded and self._reads_weights()
                else []
            ),
            *runs,
        ]
        return CSource(
            self.signature,
            "\n".join(parts),
            self._header(title),
            None if self.signature.embedded else weights,
            self._numbers(),
        )

    def _kernels(self) -> Iterator[str]:
        if self.plan.number == FLOAT16:
            yield _kernel("half_arithmetic")
        elif self.plan.weight == FLOAT16:
            yield "/* Weights in half precision. */\n#define HALF_WEIGHTS\n"
        for file, users in _KERNELS.items():
            if file == "halves" and self.plan.weight == FLOAT32:
                continue
            if any(isinstance(member, users) for step in self.plan.steps for member in step.members):
                if file == "pixels":
                    yield f"enum {{ PIXEL_BYTES = {self.functions.pixels.bytes if self.functions.pixels else 3} }};\n"
                yield _kernel(file)

    # What people read.

    def _numbers(self) -> str:
        """What it computes with, where that is not float32 alone."""
        if self.plan.number == FLOAT16:
            return "Half precision: planes and weights are float16, and so is the arithmetic where the machine has it, else float32."
        if self.plan.weight == FLOAT16:
            return "Weights are float16, widened where they are read; arithmetic is float32."
        on_codes = sum(isinstance(step, _ON_CODES) for step in self.plan.steps)
        if not on_codes:
            return ""
        of = f"{on_codes} of {len(self.plan.steps)} steps"
        return f"Quantized: {of} work on codes of 8 bits, with int8 weights and 32-bit sums."

    def _comment(self, title: str, version: str, weights_hash: str) -> str:
        place = "in this file"
        if not self.signature.embedded:
            place = f"{self.name}.bin, which the caller loads or maps, aligned to 64 bytes"
        numbers = f"\n   {self._numbers()}" if self._numbers() else ""
        text = f"""{title}

   Written by shufflenet {version}; do not edit.
   Multiply-adds: {self.plan.multiply_adds:,}. Arena: {self.plan.arena_bytes:,} bytes.
   Weights: {self.plan.weights.nbytes:,} bytes, {place}; SHA-256 {weights_hash}.{numbers}

   Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may
   run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES
   floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's
   instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math."""
        return comment(text)

    def _header(self, title: str) -> str:
        said = "\n\n   ".join(filter(None, (title, self._numbers())))
        lines = [comment(said), f"#ifndef {self.macro}_H", f"#define {self.macro}_H", ""]
        lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
        for word, ports in (("input", self.plan.inputs), ("output", self.plan.outputs)):
            for argument, port in zip(_arguments(word, ports), ports, strict=True):
                lines += self._describe(argument, port)
        lines.append(f"#define {self.macro}_ARENA_BYTES {self.plan.arena_bytes}")
        lines.append(f"#define {self.macro}_WEIGHTS_BYTES {self.plan.weights.nbytes}")
        if not self.signature.embedded:
            lines.append("/* What `weights` points to: this file's contents, aligned to 64 bytes. */")
            lines.append(f'#define {self.macro}_WEIGHTS_FILE "{self.name}.bin"')
        lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
        lines.append(
            f"/* `arena`: {self.macro}_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */"
        )
        lines += [f"{self._prototype(kind, part)};" for kind, part in self.parts.items()]
        if self.signature.takes_pixels:
            colours = "grey" if self.signature.run_pixels == "run_gray8" else "RGB"
            lines.append(
                f"/* 8-bit {colours} pixels, rows `row_stride` bytes apart, normalised as the network was trained. */"
            )
            lines.append(f"{self._prototype(self.signature.run_pixels, whole(self.plan))};")
        if self.on_threads:
            lines += self._threads()
        if self.signature.timed_steps:
            lines.append(f"/* The time of each of {self.macro}_STEPS steps, which the source names. */")
            lines.append(f"#define {self.macro}_STEPS {self.signature.timed_steps}")
            lines.append(f"{self._prototype('run_timed', whole(self.plan))};")
        lines += ["", "#ifdef __cplusplus", "}", "#endif", "#endif", ""]
        return "\n".join(lines)

    def _describe(self, argument: str, port: PlannedPort) -> Iterator[str]:
        macro = f"{self.macro}_{argument.upper()}"
        yield comment(f"{port.name}: {' × '.join(map(str, port.shape))}")
        yield f"#define {macro}_FLOATS {prod(port.shape)}"
        if len(port.shape) == 4:
            for side, value in zip(("CHANNELS", "HEIGHT", "WIDTH"), port.shape[1:], strict=True):
                yield f"#define {macro}_{side} {value}"

    def _threads(self) -> Iterator[str]:
        yield f"""
/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: {self.macro}_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void {self.name}_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define {self.macro}_ARENA_BYTES_FOR(workers) ({self.macro}_ARENA_BYTES + ((size_t)(workers) - 1) * {self.plan.worker_bytes})"""
        yield from (f"{self._prototype(kind, whole(self.plan))};" for kind in self.on_threads)

    # What is called.

    def _prototype(self, kind: str, part: Part) -> str:
        weights = [] if self.signature.embedded else ["const float *weights"]
        named = _arguments("input", self.plan.inputs)
        inputs = [f"const float *{named[i]}" for i in part.inputs]
        if kind in _FROM_PIXELS:
            inputs = ["const uint8_t *pixels", "ptrdiff_t row_stride"]
        named = _arguments("output", self.plan.outputs)
        outputs = [f"float *{named[i]}" for i in part.outputs]
        more = ["int64_t *nanoseconds"] if kind == "run_timed" else []
        if kind in self.on_threads:
            more = [f"{self.name}_parallel_for *parallel_for", "void *context"]
        return f"void {self.name}_{kind}({', '.join([*weights, *inputs, *outputs, 'void *arena', *more])})"

    def _run(self, kind: str, part: Part) -> str:
        """NAME_run in one of its kinds: the steps in order, then copies of the outputs."""
        lines = [f"{self._prototype(kind, part)} {{", "  float *const a = aligned(arena);"]
        own = [(i, self.plan.steps[i]) for i in part.steps]
        if not self.signature.embedded and not any(step.takes_weights for _, step in own):
            lines.append("  (void)weights;")
        read = {input_port(step) for _, step in own}
        named = _arguments("input", self.plan.inputs)
        unread = [named[i] for i in part.inputs if self.plan.inputs[i].planes.buffer.name not in read]
        if kind in _FROM_PIXELS:
            unread = ["pixels", "row_stride"] if read == {None} else []
        deals = kind in self.on_threads and any(step.tasks for _, step in own)
        if deals:
            lines.append(f"  struct call call = {self._call(kind)};")
        elif kind in self.on_threads:
            unread += ["parallel_for", "context"]
        lines += [f"  (void){name};" for name in unread]
        if kind == "run_timed":
            lines.append("  int64_t time = now();")
        for i, step in own:
            if deals and step.tasks:
                lines += [f"  {line}" for line in dealt_step(i, step)]
            else:
                units = ("0", str(step.tasks.units)) if step.tasks else ()
                lines.append(f"  step_{i}({', '.join((*self._operands(step, kind), *units))});")
            if kind == "run_timed":
                lines.append(f"  time = lap(time, nanoseconds + {i});")
        named = _arguments("output", self.plan.outputs)
        for port, argument in ((self.plan.outputs[i], named[i]) for i in part.outputs):
            planes, count = port.planes, len(port.planes.planes)
            together = self.definitions.table("int32_t", range(0, count * port.size, port.size))
            source = f"{at(planes)}, {self.definitions.starts(planes)}"
            copy = "copy_planes" if planes.element == FLOAT32 else "widen_planes"
            lines.append(f"  {copy}({port.size}, {count}, {source}, {argument}, {together});")
        return "\n".join([*lines, "}\n"])

    def _call(self, kind: str) -> str:
        """The initializer of what tasks share."""
        inputs = _arguments("input", self.plan.inputs)
        values = {"w": self._weights() if self._reads_weights() else "NULL", "a": "a"}
        values["inputs"] = "{" + ", ".join("NULL" if kind in _FROM_PIXELS else name for name in inputs) + "}"
        if kind in _FROM_PIXELS:
            values |= {"pixels": "pixels", "row_stride": "row_stride"}
        return "{" + ", ".join(f".{name} = {value}" for name, value in values.items()) + "}"

    def _reads_weights(self) -> bool:
        return any(step.takes_weights for step in self.plan.steps)

    def _weights(self) -> str:
        return "embedded.numbers" if self.signature.embedded else "weights"

    def _operands(self, step: Step, kind: str) -> Iterator[str]:
        """What a step's function is called with in one of the kinds, or in a task of one, whose call is `c`."""
        task = kind == "task"
        if step.takes_weights:
            yield "c->w" if task else self._weights()
        yield "c->a" if task else "a"
        if takes_scratch(step):
            first = FLOAT32.count(step.scratch)
            yield f"scratch_of(c, worker, {first})" if task else f"a + {first}"
        port = input_port(step)
        if port is None:
            return
        number = next(i for i, planned in enumerate(self.plan.inputs) if planned.planes.buffer.name == port)
        if task:
            yield f"c->inputs[{number}]"
        else:
            yield "NULL" if kind in _FROM_PIXELS else _arguments("input", self.plan.inputs)[number]
        if self.signature.takes_pixels:
            usual = "pixels, row_stride" if kind in _FROM_PIXELS else "NULL, 0"
            yield "c->pixels, c->row_stride" if task else usual


def _kernel(name: str) -> str:
    return (resources.files("shufflenet.compiler.c.kernels") / f"{name}.c").read_text(encoding="utf-8")


def _arguments(word: str, ports: tuple[PlannedPort, ...]) -> list[str]:
    """The C names of the network's inputs or outputs: numbered where there are several."""
    return [word] if len(ports) == 1 else [f"{word}_{i}" for i in range(len(ports))]


_ESCAPED = [chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in range(256)]


def _embedded(weights: bytes, kind: str) -> str:
    rows = ("".join(_ESCAPED[byte] for byte in weights[i : i + 64]) for i in range(0, len(weights), 64))
    text = "\n".join(f'"{row}"' for row in rows)
    return f"""/* {kind} numbers, as the bytes of a string: compilers read that in a fraction of the time of a list of numbers. */
static const union {{
  _Alignas(64) char bytes[{len(weights) + 1}];
  float numbers[{len(weights) // 4}];
}} embedded = {{
{text}}};
"""
