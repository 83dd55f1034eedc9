"""Where a compiled network's time goes, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shufflenet.compiler.run.build import machine_target
from shufflenet.compiler.run.profile import StepTime, peak_gflops, time_steps
from shufflenet.deploy.bench import provenance
from shufflenet.deploy.compile import compile_source
from shufflenet.nets import Network, Size


@dataclass(frozen=True)
class Layers:
    """A compiled network's steps in order, on one thread, and the machine's peak."""

    variant: str
    size: tuple[int, ...]
    target: str
    peak_gflops: float
    steps: tuple[StepTime, ...]

    @property
    def total(self) -> StepTime:
        """All steps as one."""
        work, time = (sum(getattr(step, field) for step in self.steps) for field in ("multiply_adds", "nanoseconds"))
        return StepTime("total", "", f"{len(self.steps)} steps", work, time)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: times in µs; `share_of_time` and `share_of_peak` between 0 and 1."""
        return {
            **provenance(),
            "variant": self.variant,
            "size": list(self.size),
            "target": self.target,
            "peak_gflops": self.peak_gflops,
            "steps": [self._row(step) for step in self.steps],
            "total": self._row(self.total),
        }

    def _row(self, step: StepTime) -> dict[str, Any]:
        return {
            "name": step.name,
            "kind": step.kind,
            "what": step.comment,
            "multiply_adds": step.multiply_adds,
            "us": step.nanoseconds / 1e3,
            "share_of_time": step.nanoseconds / max(self.total.nanoseconds, 1),
            "gflops": step.gflops,
            "share_of_peak": step.gflops / self.peak_gflops,
        }


def bench_layers(
    what: Network | str | Path,
    size: Size | None = None,
    *,
    runs: int = 100,
    progress: Callable[[str], None] = lambda _: None,
) -> Layers:
    """Time each step of a network, checkpoint or ONNX file, compiled for this machine: the least of `runs` runs."""
    progress("compiling")
    compiled = compile_source(what, size, timed=True)
    network = compiled.load()
    progress("measuring the machine's peak")
    peak = peak_gflops()
    progress("measuring the steps")
    steps = tuple(time_steps(network, compiled.plan, runs))
    return Layers(compiled.source.name, network.signature.input_shapes[0][1:], machine_target(), peak, steps)
