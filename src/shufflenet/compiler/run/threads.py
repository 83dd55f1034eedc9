"""Persistent threads for compiled networks: kernels/threads.h, built once and called from Python."""

import ctypes
import os
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from shufflenet.cache import cache_folder, made_folder
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.run.build import (
    compile_command,
    compiler_environment,
    compiler_version,
    digest,
    find_compiler,
    machine_target,
)

MOST_ARGUMENTS = 8  # of a function that `deal` calls: kernels/deal.c
MOST_THREADS = 64  # kernels/threads.h


class _Batch(ctypes.Structure):
    """kernels/deal.c's struct batch."""

    _fields_ = (
        ("run", ctypes.c_void_p),
        ("arguments", ctypes.c_int),
        ("argument", ctypes.c_void_p * MOST_ARGUMENTS),
        ("step", ctypes.c_ssize_t * MOST_ARGUMENTS),
    )


class Threads:
    """`workers` threads with the one that calls. They wait for work: a moment at full speed, then asleep, until this object is gone.

    One thread at a time may use it. In a process that forked off, where only the forking thread lives on, that one does all the work.
    """

    def __init__(self, workers: int) -> None:
        self._library = ctypes.CDLL(str(_build()))
        self._library.pool_bytes.restype = ctypes.c_size_t
        self._pool = ctypes.create_string_buffer(self._library.pool_bytes())
        self.workers = self._library.pool_start(self._pool, workers)
        weakref.finalize(self, _stop, self._library, self._pool, os.getpid())

    @property
    def parallel_for(self) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        """The last two arguments of NAME_run_on."""
        function = ctypes.cast(self._library.pool_for, ctypes.c_void_p)
        return function, ctypes.cast(self._pool, ctypes.c_void_p)

    def deal(self, run: ctypes.c_void_p, arguments: Sequence[tuple[int | None, int]], count: int) -> None:
        """Call `run` for each of `count` pictures. An argument is an address and its step from picture to picture; the last one's, the
        arena's, is from worker to worker.
        """
        addresses, steps = zip(*arguments, strict=True)
        room = MOST_ARGUMENTS - len(arguments)
        batch = _Batch(run, len(arguments), (*addresses, *(None,) * room), (*steps, *(0,) * room))
        self._library.pool_deal(self._pool, count, ctypes.byref(batch))


def _stop(library: ctypes.CDLL, pool: ctypes.Array, process: int) -> None:
    if os.getpid() == process:  # a forked process has none of the threads
        library.pool_stop(pool)


@cache
def _build() -> Path:
    """The library, from the cache if it was built before."""
    kernels = resources.files("shufflenet.compiler.c.kernels")
    texts = {name: (kernels / name).read_text(encoding="utf-8") for name in ("threads.h", "deal.c")}
    compiler = find_compiler()
    command = compile_command(machine_target(), compiler)
    library = cache_folder() / digest(*texts.values(), *command, compiler_version(compiler))[:32] / "threads.so"
    if not library.exists():
        made_folder(library.parent.name)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            for name, text in texts.items():
                (Path(scratch) / name).write_text(text, encoding="utf-8")
            built = Path(scratch) / library.name
            done = subprocess.run(
                [*command, "-shared", "-fPIC", "-pthread", str(Path(scratch) / "deal.c"), "-o", str(built)],
                capture_output=True, text=True, errors="replace", check=False, env=compiler_environment(),
            )  # fmt: skip
            if done.returncode:
                raise CompileError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[:2000]}")
            os.replace(built, library)
    return library
