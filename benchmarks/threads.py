"""The compiled network on several threads: beside one thread, beside the runtimes with as many, and pictures a second of a batch.

    python benchmarks/threads.py --all                                        # the table, beside what each row is held to
    python benchmarks/threads.py shufflenet_x1_0_g3 --size 480x640 --threads 2
    python benchmarks/threads.py shufflenet_x0_25_g3 --alone                  # no other runtime

Wall-clock milliseconds, warm, in one process and in turn, a few runs at a time; a ratio is of medians, and beside it of the least times,
which neighbours on the machine disturb less. Pictures a second are those of a batch of 32: ours dealt to threads, ONNX Runtime on the
whole batch with as many threads, OpenVINO with its hint for throughput and asynchronous requests.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from turns import Call, bound, check_alike, in_turn, summary

from shufflenet import nets
from shufflenet.compiler import build, load
from shufflenet.deploy.bench import host
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.runtimes import RUNTIMES

Pair = tuple[int, int]
RIVALS = ("onnx", "openvino", "ncnn", "mnn")
BATCH = 32


@dataclass(frozen=True)
class Row:
    """A network at a size, and what it is held to: times one thread, times the best runtime, and so in pictures a second."""

    network: str
    size: Pair = (224, 224)
    scaling: float | None = None
    latency: float | None = None
    throughput: float | None = None


TABLE = (
    Row("shufflenet_x1_0_g3", scaling=1.75, latency=1.5, throughput=1.6),
    Row("shufflenet_x0_5_g3", latency=2.0, throughput=2.2),
    Row("shufflenet_x0_25_g3", scaling=1.4, latency=2.5, throughput=3.0),
    Row("shufflenet_x2_0_g3", (480, 640), scaling=1.85),
    Row("shufflenet_x2_0_g3", (720, 1280), scaling=1.85),
)


def openvino_throughput(path: Path, threads: int) -> Call:
    """A batch as single asynchronous requests, as many at a time as OpenVINO finds best."""
    import openvino

    core = openvino.Core()
    config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = core.read_model(path)
    model.reshape([1, *list(model.inputs[0].partial_shape)[1:]])
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", config))
    results: dict[int, np.ndarray] = {}
    queue.set_callback(lambda request, i: results.__setitem__(i, request.get_output_tensor().data.copy()))

    def run(batch: np.ndarray) -> np.ndarray:
        for i in range(len(batch)):
            queue.start_async(batch[i : i + 1], i)
        queue.wait_all()
        return np.concatenate([results[i] for i in range(len(batch))])

    return run


def timed(calls: dict[str, Call], x: np.ndarray, runs: int) -> dict[str, dict[str, float]]:
    """Wall time of each; threads of the one before come to rest."""
    check_alike(calls, x)
    return summary(in_turn(bound(calls, x), runs, at_once=5, uncounted=2, rest_s=0.005, clock=time.perf_counter))


def measure(row: Row, threads: int, runs: int, *, alone: bool) -> dict[str, object]:
    torch.manual_seed(0)
    net = nets.create(row.network).eval()
    library = build(compile_source(net, row.size).source)
    one, ours = load(library), load(library, threads)
    exportable = Exportable(net, row.size)
    x = np.random.default_rng(0).standard_normal((1, *exportable.input_shape)).astype(np.float32)
    runs = max(5, runs * 224 * 224 // (row.size[0] * row.size[1]))
    found: dict[str, object] = {"network": row.network, "size": row.size, "threads": threads, "runs": runs}
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Call] = {"ours": ours, "ours on one thread": one}
        batched: dict[str, Call] = {"ours": ours}
        for name in () if alone else RIVALS:
            if RUNTIMES[name].missing() is None:
                (Path(folder) / name).mkdir()
                written = RUNTIMES[name].write(exportable, Path(folder) / name)[0]
                calls[name] = RUNTIMES[name].load(written, threads)
                if name == "onnx":
                    batched[name] = calls[name]
                if name == "openvino":
                    batched[name] = openvino_throughput(written, threads)
        times = timed(calls, x, runs)
        found |= {"times": times, "scaling": _ratios(times, ("ours on one thread",)), "held": row.scaling}
        rivals = tuple(name for name in calls if name in RIVALS)
        if rivals:
            found |= {"latency": _ratios(times, rivals), "latency_held": row.latency}
        if row.size == (224, 224):
            batch = np.random.default_rng(1).standard_normal((BATCH, *exportable.input_shape)).astype(np.float32)
            times = timed(batched, batch, max(5, runs // 20))
            found["pictures_a_second"] = {name: 1e3 * BATCH / ms["median_ms"] for name, ms in times.items()}
            if len(batched) > 1:
                found |= {"throughput": _ratios(times, tuple(batched)[1:]), "throughput_held": row.throughput}
    return found


def _ratios(times: dict[str, dict[str, float]], others: tuple[str, ...]) -> dict[str, float]:
    """The best of the others' times over ours, of the medians and of the least."""
    return {
        which: min(times[name][which] for name in others) / times["ours"][which] for which in ("median_ms", "min_ms")
    }


def text(found: dict) -> str:
    """A few lines."""
    height, width = found["size"]
    times = ", ".join(f"{name} {ms['median_ms']:.3f}" for name, ms in found["times"].items())
    lines = [f"{found['network']} {height}×{width}, {found['threads']} threads: {times} ms"]
    for what, held in (("scaling", "held"), ("latency", "latency_held"), ("throughput", "throughput_held")):
        if what in found:
            least = f" (at least {found[held]})" if found[held] else ""
            lines.append(
                f"  {what} {found[what]['median_ms']:.2f}, of the least times {found[what]['min_ms']:.2f}{least}"
            )
    if "pictures_a_second" in found:
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found["pictures_a_second"].items())
        lines.append(f"  pictures a second: {rates}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--all", action="store_true", help="every row of the table")
    parser.add_argument("--size", default="224x224", help="height × width, for the networks that are named")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--runs", type=int, default=200, help="of each at 224×224; larger pictures take fewer")
    parser.add_argument("--alone", action="store_true", help="measure no other runtime")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.networks and not options.all:
        parser.error("name networks, or give --all")
    height, width = map(int, options.size.split("x"))
    rows = [Row(name, (height, width)) for name in options.networks] + list(TABLE if options.all else ())
    torch.set_num_threads(1)
    results = []
    for row in rows:
        results.append(measure(row, options.threads, options.runs, alone=options.alone))
        if not options.json:
            print(text(results[-1]), flush=True)
    if options.json:
        print(json.dumps({"machine": host(), "rows": results}, indent=2))


if __name__ == "__main__":
    main()
