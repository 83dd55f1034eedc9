"""Where a figure comes from: the machine's kind, and the commit of the code."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

ROOMS = ("nets", "checkpoints", "data", "training")  # what a trained network depends on


@cache
def host() -> str:
    """The machine's kind, not its name: processor or GPU, cores, threads used."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()}× {torch.cuda.get_device_name()}"
    extensions = torch.backends.cpu.get_cpu_capability()
    return f"{_processor()} ({extensions}), {os.cpu_count()} cores, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


@cache
def commit() -> str:
    """The commit of this source, with "-dirty" where a trained network's rooms differ from it; the version if it is no checkout.

    Read once a process, when its first run ends.
    """
    from shufflenet import __version__

    source = Path(__file__).parents[1]
    git = ("git", "-C", str(source))
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain", "--", *ROOMS], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return f"{head}-dirty" if changes.strip() else head
