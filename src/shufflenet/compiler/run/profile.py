"""Where a compiled network's time goes, beside what this machine could do at most."""

import ctypes
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from shufflenet.compiler.plan.steps import Plan
from shufflenet.compiler.run.build import compile_command, compiler_environment, machine_target
from shufflenet.compiler.run.network import CompiledNetwork

WARM_UP_RUNS = 3
PEAK_CALLS, PEAK_ROUNDS = 200, 20_000  # about 2 ms a call, which some get undisturbed


@dataclass(frozen=True)
class StepTime:
    """One step of a plan: its class, what it computes, and the least time that it took."""

    name: str
    kind: str
    comment: str
    multiply_adds: int
    nanoseconds: int

    @property
    def gflops(self) -> float:
        """Thousand millions of multiplications and additions a second; 0 for a step that is not made of multiply-adds."""
        return 2 * self.multiply_adds / max(self.nanoseconds, 1)


def time_steps(network: CompiledNetwork, plan: Plan, runs: int = 100) -> list[StepTime]:
    """The least time of each step in `runs` runs on random numbers, of a network that was compiled with `timed`.

    The least is what the step takes when nothing disturbs it; whatever disturbs only adds.
    """
    random = np.random.default_rng(0)
    inputs = [random.standard_normal(shape).astype(np.float32) for shape in network.signature.input_shapes]
    times = [network.time_steps(*inputs) for _ in range(WARM_UP_RUNS + runs)][WARM_UP_RUNS:]
    return [
        StepTime(step.name, type(step).__name__, step.comment, step.work, int(nanoseconds))
        for step, nanoseconds in zip(plan.steps, np.min(times, axis=0), strict=True)
    ]


def peak_gflops() -> float:
    """What one thread of this machine can do at most, measured: fused multiply-adds in registers, each counted as two."""
    kernels = resources.files("shufflenet.compiler.c.kernels")
    text = "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n" + "".join(
        (kernels / f"{name}.c").read_text(encoding="utf-8") for name in ("vectors", "peak")
    )
    with tempfile.TemporaryDirectory() as scratch:
        source, library = Path(scratch) / "peak.c", Path(scratch) / "peak.so"
        source.write_text(text, encoding="utf-8")
        subprocess.run(
            [*compile_command(machine_target()), "-shared", "-fPIC", str(source), "-o", str(library)],
            check=True,
            env=compiler_environment(),
        )
        peak = ctypes.CDLL(str(library))
        numbers = np.full(64, 0.5, np.float32)
        seconds = []
        for _ in range(PEAK_CALLS):
            start = time.perf_counter()
            peak.multiply_and_add(ctypes.c_void_p(numbers.ctypes.data), PEAK_ROUNDS)
            seconds.append(time.perf_counter() - start)
        return 2 * peak.multiply_adds() * PEAK_ROUNDS / min(seconds) / 1e9
