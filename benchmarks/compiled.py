"""The compiled network against the runtimes, one thread, warm, in one process and in turn: the compiler's table of ratios.

    python benchmarks/compiled.py                                   # the networks of the table, every runtime that is installed
    python benchmarks/compiled.py shufflenet_x1_0_g3 --size 480x640
    python benchmarks/compiled.py shufflenet_x1_0_g3 --layers       # µs, GFLOP/s and share of peak of each operation

Times are CPU time of the thread, so that other work on the machine disturbs them little; a ratio is the best runtime's median over ours.
A flop is half a multiply-add. The peak is that of independent fused multiply-adds in registers, measured first.
"""

import argparse
import ctypes
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from shufflenet import nets
from shufflenet.compiler import Compiled
from shufflenet.compiler.build import compile_command, machine_target, write_source
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.deploy.source import Source

NETWORKS = (
    "shufflenet_x1_0_g3", "shufflenet_x0_5_g3", "shufflenet_x0_25_g3", "shufflenet_x1_0_g8", "shufflenet_x1_0_g1",
    "shufflenet_x1_0_g2", "shufflenet_x1_0_g4", "mobilenet_x1_0", "alexnet",
)  # fmt: skip
RIVALS = ("onnx", "openvino", "ncnn", "mnn", "litert")
PEAK = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
%s
void multiply_add(float *sums, int count) {
  vec sum[12];
  for (int i = 0; i < 12; i++) sum[i] = load(sums + i * LANES);
  const vec factor = load(sums);
  for (int k = 0; k < count; k++)
    UNROLL for (int i = 0; i < 12; i++) sum[i] = sum[i] * factor + factor;
  for (int i = 0; i < 12; i++) store(sums + i * LANES, sum[i]);
}
int lanes(void) { return LANES; }
"""
CLOCK = """
#include <time.h>
#include <stdint.h>
static int64_t last, least[4096];
static int64_t now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1000000000ll + t.tv_nsec; }
void profile_start(void) { last = now(); }
int64_t *profile_nanoseconds(void) { return least; }
static void profile(int step) {
  const int64_t t = now() - last;
  if (!least[step] || t < least[step]) least[step] = t;
  last = now();
}
#define PROFILE(step) profile(step)
"""


def build(text: str, name: str, folder: Path, *flags: str) -> ctypes.CDLL:
    (folder / f"{name}.c").write_text(text)
    command = [*compile_command(machine_target()), "-D_GNU_SOURCE", *flags, "-shared", "-fPIC"]
    subprocess.run([*command, str(folder / f"{name}.c"), "-o", str(folder / f"{name}.so")], check=True)
    return ctypes.CDLL(str(folder / f"{name}.so"))


def peak_gflops(folder: Path) -> float:
    """The machine's multiply-adds per second in registers, times two."""
    kernels = Path(nets.__file__).parent.parent / "compiler" / "kernels" / "vectors.c"
    library = build(PEAK % kernels.read_text(), "peak", folder)
    sums, rounds = np.full(12 * 16, 0.5, np.float32), 200_000
    seconds = [_seconds(lambda: library.multiply_add(ctypes.c_void_p(sums.ctypes.data), rounds)) for _ in range(30)]
    return 2 * 12 * library.lanes() * rounds / min(seconds) / 1e9


def _seconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def against_runtimes(source: Source, compiled: Compiled, folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each runtime, minimum and median, taken in turn."""
    x = np.random.default_rng(0).standard_normal((1, *source.input_shape)).astype(np.float32)
    calls: dict[str, Callable[[np.ndarray], np.ndarray]] = {"compiled": compiled.load()}
    expected = calls["compiled"](x)
    for name in RIVALS:
        if RUNTIMES[name].missing(writing=True):
            continue
        (folder / name).mkdir()
        calls[name] = RUNTIMES[name].load(RUNTIMES[name].write(source, folder / name)[0], 1)
        difference = np.abs(calls[name](x).reshape(-1) - expected.reshape(-1)).max() / np.abs(expected).max()
        if difference > 1e-3:
            raise SystemExit(f"{name} computes something else: {difference:.2g} of the largest output")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(-(-runs // 10)):
        for name, call in calls.items():
            call(x)
            seconds[name] += [_seconds(lambda call=call: call(x)) for _ in range(10)]
    return {name: {"min_ms": 1e3 * min(s), "median_ms": 1e3 * float(np.median(s))} for name, s in seconds.items()}


def layers(compiled: Compiled, folder: Path, runs: int) -> list[dict[str, object]]:
    """The least time of every step."""
    (folder / "clock.h").write_text(CLOCK)
    plan, source = compiled.plan, compiled.source
    write_source(source, folder)
    library = build(source.c, source.name, folder, "-include", str(folder / "clock.h"), "-std=gnu11")
    library.profile_nanoseconds.restype = ctypes.POINTER(ctypes.c_int64)
    arrays = [np.fromfile(folder / f"{source.name}.bin", np.float32)] if source.weights else []
    random = np.random.default_rng(0)
    arrays += [random.standard_normal(port.shape).astype(np.float32) for port in plan.inputs]
    arrays += [np.empty(port.shape, np.float32) for port in plan.outputs]
    arrays += [np.zeros(plan.arena_floats, np.float32)]
    for _ in range(runs):
        library.profile_start()
        getattr(library, f"{source.name}_run")(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))
    least = library.profile_nanoseconds()
    return [
        {
            "kind": type(step).__name__,
            "what": step.comment,
            "us": least[i] / 1e3,
            "gflops": 2 * step.work / max(least[i], 1),
        }
        for i, step in enumerate(plan.steps)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--size", default="224x224", help="height × width")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--layers", action="store_true", help="time every operation instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, options.size.split("x"))
    report: dict[str, object] = {"machine": platform.processor() or platform.machine(), "target": machine_target()}
    with tempfile.TemporaryDirectory() as scratch:
        peak = report["peak_gflops"] = peak_gflops(Path(scratch))
        if not options.json:
            print(f"{report['machine']}, {report['target']}, peak {peak:.1f} GFLOP/s on one thread")
        for name in options.networks:
            torch.manual_seed(0)
            net = nets.create(name).eval()
            compiled = compile_source(net, (height, width))
            folder = Path(scratch) / name
            folder.mkdir()
            if options.layers:
                rows = report[name] = layers(compiled, folder, options.runs)
                if not options.json:
                    for row in rows:
                        print(
                            f"{row['us']:9.1f} µs {row['gflops']:7.1f} GFLOP/s {100 * row['gflops'] / peak:5.1f}%  {row['what']}"
                        )
                continue
            times = against_runtimes(Source(net, (height, width)), compiled, folder, options.runs)
            ours = times["compiled"]["median_ms"]
            rivals = {k: t["median_ms"] for k, t in times.items() if k != "compiled"}
            best = min(rivals, key=rivals.__getitem__)
            share = 2 * compiled.plan.multiply_adds / (ours * 1e6) / peak
            report[name] = {**times, "best": best, "ratio": rivals[best] / ours, "share_of_peak": share}
            if not options.json:
                row = "  ".join(f"{k} {t['median_ms']:.2f}" for k, t in times.items())
                print(
                    f"{name:22} {row} ms; {best}/ours {rivals[best] / ours:.2f}; {100 * share:.0f}% of peak", flush=True
                )
    if options.json:
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
