"""Generated C in tests: built by gcc or clang at a low level of optimisation, for there are many; and what differs, if one does."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from shufflenet.compiler import CompiledNetwork, CSource, Plan
from shufflenet.compiler.c import kernels
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import Graph, Port
from shufflenet.compiler.graph.reference import execute, read
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.run.build import write_source

from .networks import difference

KERNELS = Path(kernels.__file__).parent
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-ffp-contract=fast")
# A WebAssembly program with its arguments, in the folder that one is in.
RUN_IN_NODE = """
import fs from "node:fs";
import { setFlagsFromString } from "node:v8";
import { WASI } from "node:wasi";
if (parseInt(process.versions.node) < 21) setFlagsFromString("--experimental-wasm-relaxed-simd");
const args = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args, preopens: { "/": process.cwd() } });
const module = await WebAssembly.compile(fs.readFileSync(args[0]));
wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"""


def gcc(*arguments: str) -> None:
    """Run gcc, or clang where there is none."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    assert compiler, "these tests need gcc or clang"
    done = subprocess.run([compiler, *STRICT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def load_native(source: CSource, folder: Path, *flags: str, threads: int = 1) -> CompiledNetwork:
    """The source built in `folder`, as a callable on so many threads."""
    write_source(source, folder)
    library = folder / f"{source.name}.so"
    gcc(*(flags or ("-O1", "-march=native")), "-fPIC", "-shared", str(folder / f"{source.name}.c"), "-o", str(library))
    return CompiledNetwork(library, source.signature, threads)


def run_sanitized(
    source: CSource, plan: Plan, inputs: dict[str, np.ndarray], folder: Path, *flags: str
) -> list[np.ndarray]:
    """The outputs, from a program under AddressSanitizer and UndefinedBehaviorSanitizer whose buffers are as large as promised."""
    sanitizers = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

    def build(*files: str) -> None:
        gcc(*(flags or ("-O1", "-march=native")), *sanitizers, *files)

    return _run_program(source, plan, inputs, folder, build, ())


def run_with_half_arithmetic(
    source: CSource, plan: Plan, inputs: dict[str, np.ndarray], folder: Path
) -> list[np.ndarray]:
    """The outputs, from a program for aarch64 with half precision, under qemu."""
    machine = ("-target", "aarch64-linux-musl", "-static", "-mcpu=generic+fullfp16", "-O2", "-ffp-contract=fast")

    def build(*files: str) -> None:
        subprocess.run([sys.executable, "-m", "ziglang", "cc", *machine, *files], check=True)

    return _run_program(source, plan, inputs, folder, build, ("qemu-aarch64", "-cpu", "max"))


def _run_program(
    source: CSource,
    plan: Plan,
    inputs: dict[str, np.ndarray],
    folder: Path,
    build: Callable[..., None],
    runner: tuple[str, ...],
) -> list[np.ndarray]:
    write_source(source, folder)
    np.concatenate([array.reshape(-1) for array in inputs.values()]).astype(np.float32).tofile(folder / "inputs")
    reads = [(f"x{i}", int(np.prod(port.shape))) for i, port in enumerate(plan.inputs)]
    writes = [(f"y{i}", int(np.prod(port.shape))) for i, port in enumerate(plan.outputs)]
    weights = [] if source.weights is None else [("weights", len(source.weights) // 4)]
    macro = f"{source.name.upper()}_ARENA_BYTES"
    lines = [f'#include "{source.name}.h"', "#include <stdio.h>", "#include <stdlib.h>", "int main(void) {"]
    lines += [f"  float *{name} = malloc({4 * count});" for name, count in weights + reads + writes]
    lines += [f"  void *arena = malloc({macro});", '  FILE *in = fopen("inputs", "rb"), *out = fopen("outputs", "wb");']
    lines += [f"  if (fread({name}, 4, {count}, in) != {count}) return 2;" for name, count in reads]
    if weights:
        lines.append(
            f'  if (fread(weights, 4, {weights[0][1]}, fopen("{source.name}.bin", "rb")) != {weights[0][1]}) return 3;'
        )
    lines.append(f"  {source.name}_run({', '.join(name for name, _ in weights + reads + writes)}, arena);")
    lines += [f"  fwrite({name}, 4, {count}, out);" for name, count in writes]
    (folder / "main.c").write_text("\n".join([*lines, "  return 0;", "}", ""]))
    program = folder / "program"
    build(f"{folder}/main.c", f"{folder}/{source.name}.c", "-o", str(program))
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([*runner, program], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    numbers = np.fromfile(folder / "outputs", np.float32)
    ends = np.cumsum([count for _, count in writes])
    return [part.reshape(port.shape) for part, port in zip(np.split(numbers, ends[:-1]), plan.outputs, strict=True)]


def first_that_differs(graph: Graph, inputs: dict[str, np.ndarray], folder: Path, tolerance: float = 1e-4) -> str:
    """The first operation of a simplified graph whose compiled result is not that of reference.py, in words."""
    ports = tuple(Port(o.name, o.output, (1, *graph.shape(o.output))) for o in graph.operations)
    exposed = replace(graph, outputs=ports)
    plan = make_plan(exposed)
    source = emit(plan, "exposed", title="every result", version="0", embed=False)
    outputs = load_native(source, folder)(*inputs.values())
    memory = execute(graph, inputs)
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    for operation, output in zip(graph.operations, found, strict=True):
        expected = read(memory, operation.output)
        try:
            apart = difference(output, expected)
        except AssertionError as error:
            return f"{type(operation).__name__} {operation.name!r}: {error}"
        if apart > tolerance:
            return f"{type(operation).__name__} {operation.name!r} {expected.shape} is off by {apart:.1e}"
    return "no operation, where every result is kept: look at what shares memory"
