"""C source → shared library → Python callable. Libraries are kept by content, so that the second time costs nothing."""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from shufflenet.compiler.emit import Source
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.steps import Plan

FLAGS = ("-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Target:
    """A machine to build for: how `zig cc`, and how gcc or clang of that machine, are told."""

    zig: tuple[str, ...]
    native: tuple[str, ...] | None = None  # None: only zig builds for it
    executable: bool = False  # a program that exports functions, not a shared library


def _x86(level: int) -> Target:
    return Target(("-target", "x86_64-linux-gnu", f"-mcpu=x86_64_v{level}"), (f"-march=x86-64-v{level}",))


TARGETS = {
    "native": Target(("-mcpu=native",), ("-march=native",)),
    "x86_64-v2": _x86(2),
    "x86_64-v3": _x86(3),
    "x86_64-v4": _x86(4),
    "aarch64": Target(("-target", "aarch64-linux-gnu")),
    "riscv64": Target(("-target", "riscv64-linux-gnu", "-mcpu=baseline_rv64")),
    "riscv64-v": Target(("-target", "riscv64-linux-gnu", "-mcpu=baseline_rv64+v+zvl128b")),
    "wasm32": Target(("-target", "wasm32-wasi", "-mcpu=generic+simd128", "-mexec-model=reactor"), executable=True),
}

_LEVELS = {  # what /proc/cpuinfo must list
    4: {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    3: {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"},
    2: {"sse4_2", "popcnt", "ssse3", "cx16"},
}


def machine_target() -> str:
    """The name of the target that suits this machine best."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine().lower() in ("x86_64", "amd64") and cpuinfo.exists():
        flags = set(next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split())
        level = 0
        for next_level in (2, 3, 4):
            if not flags >= _LEVELS[next_level]:
                break
            level = next_level
        if level:
            return f"x86_64-v{level}"
    return "native"


def cache_folder() -> Path:
    """Where built libraries are kept: $SHUFFLENET_CACHE, or the platform's place for such things."""
    chosen = os.environ.get("SHUFFLENET_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "shufflenet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "shufflenet" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shufflenet"


def find_compiler() -> tuple[str, ...]:
    """The command of a C compiler: $CC, ziglang's clang, or the system's. Raises CompileError if there is none."""
    chosen = os.environ.get("CC")
    if chosen:
        return tuple(chosen.split())
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    for name in ("clang", "gcc", "cc"):
        if path := shutil.which(name):
            return (path,)
    raise CompileError("no C compiler was found; pip install 'shufflenet[compile]' brings one.")


def compile_command(target: str, compiler: tuple[str, ...] | None = None) -> list[str]:
    """The compiler and its flags for a target, without files. Raises CompileError if this compiler cannot build for it."""
    if target not in TARGETS:
        raise CompileError(f"there is no target {target!r}; choose one of {', '.join(TARGETS)}.")
    compiler = compiler or find_compiler()
    is_zig = "ziglang" in compiler or Path(compiler[0]).stem == "zig"
    flags = TARGETS[target].zig if is_zig else TARGETS[target].native
    if flags is None:
        raise CompileError(
            f"{compiler[0]} does not build for {target}; unset CC and pip install 'shufflenet[compile]'."
        )
    return [*compiler, *flags, *FLAGS]


@cache
def _compiler_version(compiler: tuple[str, ...]) -> str:
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


def build(source: Source, target: str | None = None) -> Path:
    """The shared library (for wasm32 the module) of a source, from the cache if it was built before.

    Raises CompileError with the compiler's words if it fails.
    """
    target = target or machine_target()
    compiler = find_compiler()
    command = compile_command(target, compiler)
    command += ["-Wl,--export-dynamic"] if TARGETS[target].executable else ["-shared", "-fPIC"]
    key = hashlib.sha256("\0".join([source.c, source.h, *command, _compiler_version(compiler)]).encode()).hexdigest()
    folder = cache_folder() / key[:32]
    library = folder / (
        source.name + (".wasm" if TARGETS[target].executable else ".dll" if sys.platform == "win32" else ".so")
    )
    if library.exists():
        return library
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        write_source(source, Path(scratch))
        output = Path(scratch) / library.name
        done = subprocess.run(
            [*command, str(Path(scratch) / f"{source.name}.c"), "-o", str(output)],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise CompileError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[:2000]}")
        folder.mkdir(exist_ok=True)
        if source.weights is not None:
            os.replace(Path(scratch) / f"{source.name}.bin", folder / f"{source.name}.bin")
        os.replace(output, library)  # last: who finds the library finds all of it
    return library


def write_source(source: Source, folder: Path) -> list[Path]:
    """Write NAME.c, NAME.h and, if there is one, NAME.bin; the paths."""
    contents = {"c": source.c.encode(), "h": source.h.encode(), "bin": source.weights}
    paths = []
    for suffix, content in contents.items():
        if content is not None:
            paths.append(folder / f"{source.name}.{suffix}")
            paths[-1].write_bytes(content)
    return paths


def load(source: Source, plan: Plan) -> "Network":
    """The source built for this machine, as a callable."""
    return Network(build(source), source, plan)


class Network:
    """A compiled network: call it with an array (channels, height, width), or a batch of them, for each input.

    Arrays are float32, numpy's or torch's; one that is contiguous is read where it is. A batch runs one by one. The result is what
    the ONNX file's output is, without its batch of one; a batch of n comes back as (n, ...). Several outputs come as a tuple.
    Threads may call one network at the same time: each has an arena of its own.
    """

    def __init__(self, library: Path, source: Source, plan: Plan) -> None:
        self.library = library
        self.source = source.c
        self.arena_bytes = plan.arena_bytes
        self.weights_bytes = plan.weights.nbytes
        self.multiply_adds = plan.multiply_adds
        self._input_shapes = [port.shape[1:] for port in plan.inputs]
        self._output_shapes = [port.shape[1:] for port in plan.outputs]
        dynamic = ctypes.CDLL(str(library))
        self._run = getattr(dynamic, f"{source.name}_run")
        self._run_rgb8 = getattr(dynamic, f"{source.name}_run_rgb8", None)
        self._weights = ()
        if source.weights is not None:
            self._weights = (np.memmap(library.with_suffix(".bin"), np.float32, mode="r"),)
        self._own = threading.local()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Raises ValueError for a wrong number of inputs or a wrong shape."""
        if len(inputs) != len(self._input_shapes):
            raise ValueError(f"{len(inputs)} inputs were given; the network takes {len(self._input_shapes)}")
        arrays = [np.ascontiguousarray(np.asarray(x), np.float32) for x in inputs]
        for array, shape in zip(arrays, self._input_shapes, strict=True):
            if array.shape[-len(shape) :] != shape or array.ndim - len(shape) not in (0, 1):
                raise ValueError(f"an input has shape {array.shape}; the network takes {shape}, or a batch of them")
        batched = arrays[0].ndim > len(self._input_shapes[0]) and len(arrays[0]) != 1
        batches = [x.reshape(-1, *shape) for x, shape in zip(arrays, self._input_shapes, strict=True)]
        outputs = [np.empty((len(batches[0]), *shape), np.float32) for shape in self._output_shapes]
        arena = self._arena()
        for i in range(len(batches[0])):
            self._run(*map(_address, (*self._weights, *(x[i] for x in batches), *(y[i] for y in outputs), arena)))
        results = tuple(outputs if batched else (y[0] for y in outputs))
        return results[0] if len(results) == 1 else results

    def run_rgb8(self, pixels: np.ndarray) -> np.ndarray:
        """The output for one picture: uint8 (height, width, 3), RGB, of the network's size; its rows may lie apart."""
        if self._run_rgb8 is None:
            raise ValueError("the network was compiled without preprocessing; give compile_onnx its `pixels`")
        height, width = self._input_shapes[0][1:]
        if pixels.dtype != np.uint8 or pixels.shape != (height, width, 3) or pixels.strides[1:] != (3, 1):
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; the network takes uint8 {(height, width, 3)}")
        output = np.empty(self._output_shapes[0], np.float32)
        self._run_rgb8(
            *map(_address, self._weights), _address(pixels), ctypes.c_ssize_t(pixels.strides[0]), _address(output),
            _address(self._arena()),
        )  # fmt: skip
        return output

    def _arena(self) -> np.ndarray:
        if not hasattr(self._own, "arena"):
            self._own.arena = np.empty(self.arena_bytes, np.uint8)
        return self._own.arena


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
