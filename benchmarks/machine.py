"""What this machine wants of a plan: each figure of `compiler/plan/machines.py` halved and doubled, timed beside the plan as it is.

    python benchmarks/machine.py mobilenet_x1_0 shufflenet_x1_0_g3
    python benchmarks/machine.py shufflenet_x1_0_g3 --size 480x640
    python benchmarks/machine.py shufflenet_x1_0_g3 --threads 2     # task_ns matters only then

A line is a plan's time as a share of the usual one's: medians of wall-clock times taken in turn in one process, and of the least
times. Less than 1 is faster. A second run finds the libraries built: let that one count, on a machine that is idle.
"""

import argparse
import time
from dataclasses import fields, replace

import numpy as np
import torch
from turns import bound, in_turn, summary

from shufflenet import nets
from shufflenet.compiler import CompiledNetwork, build, load
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import Graph
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.machines import USUAL, Machine
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.run.build import machine_target
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

AT_ONCE = 5
USUAL_PLAN = "the usual figures"


def variants() -> dict[str, Machine]:
    """The usual machine first."""
    figures = [field.name for field in fields(Machine) if field.name != "name"]
    return {USUAL_PLAN: USUAL} | {
        f"{figure} × {factor:g}": replace(
            USUAL, **{figure: type(getattr(USUAL, figure))(getattr(USUAL, figure) * factor)}
        )
        for figure in figures
        for factor in (0.5, 2)
    }


def networks(graph: Graph, threads: int) -> tuple[dict[str, CompiledNetwork], dict[str, str]]:
    """What the variants' plans become, each plan once; and of each variant, by which one's name its plan goes."""
    sources, plans = {}, {}
    for name, machine in variants().items():
        source = emit(make_plan(graph, machine), "net", title="A plan", version="0")
        plans[name] = next((other for other, before in sources.items() if before.c == source.c), name)
        sources.setdefault(plans[name], source)
    return {name: load(build(source, machine_target()), threads) for name, source in sources.items()}, plans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--size", default="224x224", help="height × width")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100, help="of each plan")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    x = np.random.default_rng(0).standard_normal((3, height, width)).astype(np.float32)
    for name in options.networks:
        torch.manual_seed(0)
        source = Exportable(nets.create(name).eval(), (height, width))
        calls, plans = networks(simplify(read_onnx(to_onnx(source))), options.threads)
        ms = summary(in_turn(bound(calls, x), options.runs, at_once=AT_ONCE, clock=time.perf_counter))
        median, least = ms[USUAL_PLAN].values()
        workers = f"{options.threads} {'threads' if options.threads > 1 else 'thread'}"
        print(f"{name} {height}×{width}, {workers}, planned for {USUAL.name}: {median:.3f} ms ({least:.3f})")
        for variant, plan in plans.items():
            if plan == variant != USUAL_PLAN:
                print(
                    f"  {variant:28} {ms[plan]['median_ms'] / median:.3f} ({ms[plan]['min_ms'] / least:.3f})",
                    flush=True,
                )
            elif variant != USUAL_PLAN:
                print(f"  {variant:28} the plan of {plan}", flush=True)


if __name__ == "__main__":
    main()
