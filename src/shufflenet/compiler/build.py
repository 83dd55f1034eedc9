"""C source → shared library → Python callable."""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from shufflenet.compiler.emit import Source
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.steps import Plan

FLAGS = ("-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra", "-Werror")


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
    """The command of a C compiler: $CC, ziglang's clang, or the system's cc. Raises CompileError if there is none."""
    chosen = os.environ.get("CC")
    if chosen:
        return tuple(chosen.split())
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    for name in ("clang", "gcc", "cc"):
        if path := shutil.which(name):
            return (path,)
    raise CompileError("no C compiler was found; pip install 'shufflenet[compile]' brings one.")


def is_zig(compiler: Sequence[str]) -> bool:
    """Whether the command is `zig cc`, which names processors and targets in its own way."""
    return "ziglang" in compiler or Path(compiler[0]).stem == "zig"
