"""C source → shared library. Libraries are kept by content, so the second time costs nothing."""

import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from shufflenet import cache
from shufflenet.compiler.c.source import CSource, Signature
from shufflenet.compiler.errors import CompileError

FLAGS = ("-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Target:
    """A machine to build for: how `zig cc`, and how gcc or clang of that machine, are told."""

    zig: tuple[str, ...]
    native: tuple[str, ...] | None = None  # None: only zig builds for it
    executable: bool = False  # a program that exports functions, not a shared library
    needs: frozenset[str] = frozenset()  # what /proc/cpuinfo lists where it runs


_LEVELS = {  # what each level of x86-64 adds, in /proc/cpuinfo's words
    2: frozenset({"sse4_2", "popcnt", "ssse3", "cx16"}),
    3: frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}),
    4: frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}


def _x86(level: int, **features: str) -> Target:
    """A level, and features beyond it: as compilers call them, and as /proc/cpuinfo does."""
    zig = f"-mcpu=x86_64_v{level}" + "".join(f"+{feature}" for feature in features)
    native = (f"-march=x86-64-v{level}", *(f"-m{feature}" for feature in features))
    needs = frozenset[str]().union(*(_LEVELS[lower] for lower in range(2, level + 1)), features.values())
    return Target(("-target", "x86_64-linux-gnu", zig), native, needs=needs)


def _wasm(features: str) -> Target:
    return Target(("-target", "wasm32-wasi", f"-mcpu={features}", "-mexec-model=reactor", "-s"), executable=True)


TARGETS = {
    "native": Target(("-mcpu=native",), ("-march=native",)),
    "x86_64-v2": _x86(2),
    "x86_64-v3": _x86(3),
    "x86_64-v3-vnni": _x86(3, avxvnni="avx_vnni"),
    "x86_64-v4": _x86(4),
    "x86_64-v4-vnni": _x86(4, avx512vnni="avx512_vnni"),
    "x86_64-v4-fp16": _x86(4, avx512vnni="avx512_vnni", avx512fp16="avx512_fp16"),
    "aarch64": Target(("-target", "aarch64-linux-gnu")),
    "aarch64-dotprod": Target(("-target", "aarch64-linux-gnu", "-mcpu=generic+dotprod")),
    "aarch64-fp16": Target(("-target", "aarch64-linux-gnu", "-mcpu=generic+dotprod+fullfp16")),
    "riscv64": Target(("-target", "riscv64-linux-gnu", "-mcpu=baseline_rv64")),
    "riscv64-v": Target(("-target", "riscv64-linux-gnu", "-mcpu=baseline_rv64+v+zvl128b")),
    "wasm32": _wasm("generic+simd128"),
    "wasm32-relaxed": _wasm("generic+simd128+relaxed_simd"),  # multiplies and adds at once; engines since 2023
}


def machine_target() -> str:
    """The name of the target that suits this machine best."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine().lower() in ("x86_64", "amd64") and cpuinfo.exists():
        flags = set(next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split())
        # The last one is the best.
        fitting = [name for name, target in TARGETS.items() if target.needs and target.needs <= flags]
        return fitting[-1] if fitting else "native"
    return "native"


def compiler_environment() -> dict[str, str]:
    """The environment of a C compiler: zig keeps its own files beside ours where a place for these was chosen, not in a home."""
    if not os.environ.get(cache.VARIABLE):
        return dict(os.environ)
    zig = str(cache.cache_folder() / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig, **os.environ}


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


@functools.cache
def compiler_version(compiler: tuple[str, ...]) -> str:
    done = subprocess.run(
        [*compiler, "--version"], capture_output=True, text=True, check=False, env=compiler_environment()
    )
    return done.stdout


def build(source: CSource, target: str | None = None) -> Path:
    """The shared library (for WebAssembly the module) of a source, from the cache if it was built before.

    Beside it lie the source, the weights if they are not in it, and NAME.json, which says how the library is called. Raises CompileError
    with the C compiler's words if it fails.
    """
    return build_once(source.name, (source.c, source.h), lambda: source, target)


def build_once(
    name: str, content: Iterable[str | bytes], make_source: Callable[[], CSource], target: str | None = None
) -> Path:
    """`build` for a source that takes long to make: where the cache has a library of the same `content`, it is not made at all.

    `content` is everything that the source follows from. What was built is told by that, the target and the C compiler; a library
    that is cut short or damaged is built anew.
    """
    target = target or machine_target()
    compiler = find_compiler()
    command = compile_command(target, compiler)
    folder = cache.cache_folder() / digest(*content, *command, compiler_version(compiler))[:32]
    library = folder / f"{name}{_suffix(target)}"
    if not _is_whole(library):
        _build(make_source(), command, library)
    return library


def digest(*parts: str | bytes) -> str:
    """SHA-256 of texts and bytes in this order, as hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


def write_source(source: CSource, folder: Path) -> list[Path]:
    """Write NAME.c, NAME.h and, if there is one, NAME.bin; the paths."""
    contents = {"c": source.c.encode(), "h": source.h.encode(), "bin": source.weights}
    paths = []
    for suffix, content in contents.items():
        if content is not None:
            paths.append(folder / f"{source.name}.{suffix}")
            paths[-1].write_bytes(content)
    return paths


def _suffix(target: str) -> str:
    return ".wasm" if TARGETS[target].executable else ".dll" if sys.platform == "win32" else ".so"


def _build(source: CSource, command: list[str], library: Path) -> None:
    cache.made_folder(library.parent.name)
    exports = [f"-Wl,--export={name}" for name in re.findall(r"^(?:void|int|size_t) (\w+)\(", source.h, re.MULTILINE)]
    kind = exports if library.suffix == ".wasm" else ["-shared", "-fPIC"]
    with tempfile.TemporaryDirectory(dir=library.parent.parent) as scratch:
        paths = write_source(source, Path(scratch))
        built = Path(scratch) / library.name
        done = subprocess.run(
            [*command, *kind, str(paths[0]), "-o", str(built)],
            capture_output=True, text=True, errors="replace", check=False, env=compiler_environment(),
        )  # fmt: skip
        if done.returncode:
            raise CompileError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[:2000]}")
        paths.append(built)
        sums = {path.name: _file_digest(path) for path in paths}
        record = {"signature": source.signature.to_json(), "sha256": sums}
        paths.append(built.with_suffix(".json"))
        paths[-1].write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for path in paths:  # NAME.json last: until it is there, the library does not count as whole
            os.replace(path, library.parent / path.name)


def _is_whole(library: Path) -> bool:
    """Whether every file of a built library is there, as this version writes it."""
    try:
        record = json.loads(library.with_suffix(".json").read_text(encoding="utf-8"))
        Signature.from_json(record["signature"])
        return all(_file_digest(library.parent / name) == expected for name, expected in record["sha256"].items())
    # Missing, cut short, or of a version that described libraries in another way.
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
