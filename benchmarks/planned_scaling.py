"""How far a plan lets threads go: what stays on one, how evenly the rest comes out, and how often threads have to meet.

    python benchmarks/planned_scaling.py                                  # the networks of benchmarks/threads.py, for 2 threads
    python benchmarks/planned_scaling.py shufflenet_x0_25_g3 --steps      # each step that is not halved
    python benchmarks/planned_scaling.py shufflenet_x2_0_g3 --size 720x1280 --threads 4

Nothing is built and nothing is timed. A step takes what plan/tasks.py estimates for it, so `bound` is what threads that cost nothing
would reach. `meetings` are calls of parallel_for: divide what one costs by the time of a run for what they take off that.
"""

import argparse
from dataclasses import dataclass
from itertools import pairwise

import torch
from threads import TABLE, Row

from shufflenet import nets
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.machines import USUAL, Machine
from shufflenet.compiler.plan.steps import Step, Strips
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx


@dataclass(frozen=True)
class Share:
    """A step's estimated microseconds on one thread, and of the thread that has most of it."""

    step: Step
    alone_us: float
    longest_us: float

    @property
    def meetings(self) -> int:
        return 0 if self.step.tasks is None else 1 + isinstance(self.step, Strips)


def share(step: Step, machine: Machine, threads: int) -> Share:
    """kernels/threads.h cuts the tasks into as many ranges as there are threads."""
    alone = 1e-3 * max(step.work / machine.multiply_adds_per_ns, step.moved_bytes / machine.bytes_per_ns)
    if step.tasks is None:
        return Share(step, alone, alone)
    tasks, parts = step.tasks, min(threads, step.tasks.count)
    ends = [min(tasks.each * (tasks.count * part // parts), tasks.units) for part in range(parts + 1)]
    weights = _unit_rows(step) if isinstance(step, Strips) else [1] * tasks.units
    most = max(sum(weights[first:end]) for first, end in pairwise(ends))
    return Share(step, alone, alone * most / sum(weights))


def _unit_rows(step: Strips) -> list[int]:
    return [run.rows for run in step.runs for _ in range(run.first, run.end, run.rows)]


def report(row: Row, threads: int, *, steps: bool) -> str:
    torch.manual_seed(0)
    graph = simplify(read_onnx(to_onnx(Exportable(nets.create(row.network).eval(), row.size)), row.size))
    shares = [share(step, USUAL, threads) for step in make_plan(graph).steps]
    alone, longest = sum(s.alone_us for s in shares), sum(s.longest_us for s in shares)
    serial = sum(s.alone_us for s in shares if s.step.tasks is None)
    meetings = sum(s.meetings for s in shares)
    lines = [
        f"{row.network} {row.size[0]}×{row.size[1]}: {len(shares)} steps, {meetings} meetings, {alone:.0f} µs, "
        f"{100 * serial / alone:.1f}% on one thread, bound {alone / longest:.2f}"
    ]
    if steps:
        uneven = [s for s in shares if s.longest_us > 1.02 * s.alone_us / threads]
        for s in sorted(uneven, key=lambda s: s.alone_us / threads - s.longest_us):
            dealt = f"{s.step.tasks.count} tasks of {s.step.tasks.units} units" if s.step.tasks else "on one"
            lost = s.longest_us - s.alone_us / threads
            lines.append(f"  {lost:8.1f} µs lost of {s.alone_us:8.1f}: {dealt}, {s.step.name}, {s.step.comment}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--size", default="224x224", help="height × width, for the networks that are named")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", action="store_true", help="what each step loses, the worst first")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    for row in [Row(name, (height, width)) for name in options.networks] or TABLE:
        print(report(row, options.threads, steps=options.steps), flush=True)


if __name__ == "__main__":
    main()
