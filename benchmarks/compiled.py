"""The compiled network against the runtimes, one thread, warm, in one process and in turn: the compiler's table of ratios.

    python benchmarks/compiled.py --all                             # every row of the table, beside what it is held to
    python benchmarks/compiled.py shufflenet_x1_0_g3 --size 480x640
    python benchmarks/compiled.py shufflenet_x1_0_g3 --gcc          # ours built by gcc as well
    python benchmarks/compiled.py shufflenet_x1_0_g3 --avx2         # on an AVX-512 machine: as one without it would do

Times are CPU time of the process, all of its threads, so other work on the machine disturbs them little; a ratio is the best
runtime's median over ours.
Larger pictures are run fewer times. Where each operation's time goes, `shufflenet bench --layers` tells. The peak is that of
independent fused multiply-adds in registers, measured first; a flop is half a multiply-add.

LiteRT's converter pins older versions of packages that the others need, so its files are written first, in a separate environment:
`pip install 'shufflenet[compile,litert]'`, or that of `make test-export`. The weights follow from the seed, there and here.

    .venv-export/bin/python benchmarks/compiled.py --all --write-tflite FOLDER    # FOLDER/NETWORK_HEIGHTxWIDTH.tflite, a file a row
    python benchmarks/compiled.py --all --tflite FOLDER

IREE and Apache TVM compile each network's ONNX file with their defaults for the host: `pip install 'shufflenet[tensor-compilers]'`.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tensor_compilers import iree, tvm
from turns import Call, bound, check_alike, in_turn, summary

from shufflenet import nets
from shufflenet.compiler import CompiledNetwork, build, load
from shufflenet.compiler.run.build import machine_target
from shufflenet.compiler.run.profile import peak_gflops
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes import RUNTIMES

Pair = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A network at a size, and the ratio best-runtime/ours that it must reach on an AVX-512 machine, and that it aims at."""

    network: str
    size: Pair = (224, 224)
    at_least: float | None = None
    aim: float | None = None


TABLE = (
    Row("shufflenet_x1_0_g3", at_least=1.35, aim=1.5),
    Row("shufflenet_x0_5_g3", at_least=1.8, aim=2.1),
    Row("shufflenet_x0_25_g3", at_least=2.4, aim=3.0),
    Row("shufflenet_x1_0_g8", at_least=1.4, aim=1.6),
    *(Row(f"shufflenet_x1_0_g{groups}", at_least=1.3, aim=1.5) for groups in (1, 2, 4)),
    Row("mobilenet_x1_0", at_least=1.0, aim=1.1),
    Row("alexnet", at_least=1.0, aim=1.2),
    *(
        Row(f"shufflenet_x{width}_g3", size, at_least=1.3, aim=1.5)
        for size in ((480, 640), (720, 1280))
        for width in ("0_5", "1_0", "2_0")
    ),
)
RIVALS = tuple(RUNTIMES[name] for name in ("onnx", "openvino", "ncnn", "mnn", "litert"))
TENSOR_COMPILERS = (iree, tvm)


def network(row: Row) -> nets.Network:
    torch.manual_seed(0)
    return nets.create(row.network).eval()


def tflite_name(source: Exportable) -> str:
    height, width = source.size
    return f"{source.name}_{height}x{width}.tflite"


def write_tflite(rows: list[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        source = Exportable(network(row), row.size)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            written = RUNTIMES["litert"].write(source, Path(scratch))[0]
            print(written.replace(folder / tflite_name(source)), flush=True)


def runtimes(*, avx2: bool) -> dict[Runtime, bool]:
    """All that ours is held to; and whether each is measured, since with `avx2` some cannot be kept from AVX-512.

    To be called before they are loaded.
    """
    if not avx2:
        return dict.fromkeys((*RIVALS, *(compiler("host") for compiler in TENSOR_COMPILERS)), True)
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    kept = {runtime: runtime.name == "openvino" for runtime in RIVALS}
    return kept | {compiler("x86-64-v3"): True for compiler in TENSOR_COMPILERS}


def rivals(
    source: Exportable, folder: Path, tflite: Path | None, measured: dict[Runtime, bool]
) -> tuple[dict[str, Call], dict[str, str]]:
    """The network in each runtime that is to be measured; and of each that is not, why."""
    calls: dict[str, Call] = {}
    absent: dict[str, str] = {}
    for runtime, wanted in measured.items():
        name = runtime.name
        written = tflite / tflite_name(source) if name == "litert" and tflite else None
        if not wanted:
            absent[name] = f"{runtime.title} cannot be kept from AVX-512"
        elif written and not written.is_file():
            absent[name] = f"there is no {written}"
        elif not written and (reason := runtime.missing()):
            absent[name] = reason
        else:
            try:
                calls[name] = ready(runtime, source, folder / name, written)
            except Exception as error:  # whatever a runtime raises
                last = (str(error).strip() or repr(error)).splitlines()[-1]
                absent[name] = f"{runtime.title} does not run {source.name}: {last}"
    return calls, absent


def ready(runtime: Runtime, source: Exportable, folder: Path, written: Path | None) -> Call:
    """The network in a runtime, once it has run."""
    if not written:
        folder.mkdir()
        written = runtime.write(source, folder)[0]
    call = runtime.load(written, 1)
    call(np.zeros((1, *source.input_shape), np.float32))
    return call


def gcc_network(net: nets.Network, size: Pair) -> CompiledNetwork:
    """The same source, built by gcc."""
    before = os.environ.get("CC")
    os.environ["CC"] = "gcc"
    try:
        return load(build(compile_source(net, size).source))
    finally:
        del os.environ["CC"]
        if before is not None:
            os.environ["CC"] = before


def measure(row: Row, options: argparse.Namespace, peak: float, measured: dict[Runtime, bool]) -> dict[str, object]:
    net = network(row)
    compiled = compile_source(net, row.size)
    target = "x86_64-v3" if options.avx2 else machine_target()
    calls: dict[str, Call] = {"compiled": load(build(compiled.source, target))}
    if options.gcc:
        calls["compiled by gcc"] = gcc_network(net, row.size)
    source = Exportable(net, row.size)
    x = np.random.default_rng(0).standard_normal((1, *source.input_shape)).astype(np.float32)
    runs = max(4, options.runs * 224 * 224 // (row.size[0] * row.size[1])) if row.size[0] > 224 else options.runs
    with tempfile.TemporaryDirectory() as folder:
        others, absent = ({}, {}) if options.alone else rivals(source, Path(folder), options.tflite, measured)
        check_alike(calls | others, x)
        times = summary(in_turn(bound(calls | others, x), runs))
    ours = times["compiled"]["median_ms"]
    found: dict[str, object] = {
        "network": row.network, "size": row.size, "runs": runs, "times": times, "absent": absent,
        "at_least": row.at_least, "aim": row.aim,
        "share_of_peak": 2 * compiled.plan.multiply_adds / (ours * 1e6) / peak,
        "arena_bytes": compiled.plan.arena_bytes, "bound_bytes": compiled.plan.bound_bytes,
    }  # fmt: skip
    if others:
        best = min(others, key=lambda name: times[name]["median_ms"])
        found |= {"best": best, "ratio": times[best]["median_ms"] / ours}
    if options.gcc:
        found["gcc_to_clang"] = times["compiled by gcc"]["median_ms"] / ours
    return found


def text(found: dict) -> str:
    """One line."""
    parts = ["  ".join(f"{name} {time['median_ms']:.2f}" for name, time in found["times"].items()) + " ms"]
    if "ratio" in found:
        held = f" (at least {found['at_least']}, aim {found['aim']})" if found["at_least"] else ""
        parts.append(f"{found['best']}/ours {found['ratio']:.2f}{held}")
    if "gcc_to_clang" in found:
        parts.append(f"gcc/clang {found['gcc_to_clang']:.2f} (at most 1.15)")
    parts.append(f"{100 * found['share_of_peak']:.0f}% of peak")
    height, width = found["size"]
    return f"{found['network']:20} {f'{height}×{width}':8}  " + "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--all", action="store_true", help="every row of the table")
    parser.add_argument("--size", default="224x224", help="height × width, for the networks that are named")
    parser.add_argument("--runs", type=int, default=100, help="of each runtime at 224×224; larger pictures take fewer")
    parser.add_argument("--gcc", action="store_true", help="measure ours as gcc builds it, too")
    parser.add_argument(
        "--avx2", action="store_true", help="all without AVX-512: ours, and the runtimes that heed that"
    )
    parser.add_argument("--alone", action="store_true", help="measure no other runtime")
    parser.add_argument("--tflite", type=Path, metavar="FOLDER", help="where LiteRT's files were written")
    parser.add_argument("--write-tflite", type=Path, metavar="FOLDER", help="write them there, and measure nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.gcc and not shutil.which("gcc"):
        parser.error("--gcc needs gcc, which is not installed")
    if not options.networks and not options.all:
        parser.error("name networks, or give --all")
    height, width = map(int, options.size.split("x"))
    rows = [Row(name, (height, width)) for name in options.networks] + list(TABLE if options.all else ())
    if options.write_tflite:
        if reason := RUNTIMES["litert"].missing():
            parser.error(reason)
        write_tflite(rows, options.write_tflite)
        return
    measured = runtimes(avx2=options.avx2)
    torch.set_num_threads(1)
    peak = peak_gflops()
    machine = f"{platform.processor() or platform.machine()}, {'x86_64-v3' if options.avx2 else machine_target()}"
    if not options.json:
        print(f"{machine}, peak {peak:.1f} GFLOP/s on one thread")
    results, told = [], set()
    for row in rows:
        results.append(measure(row, options, peak, measured))
        if not options.json:
            print(text(results[-1]), flush=True)
            for reason in results[-1]["absent"].values():  # pyright: ignore[reportAttributeAccessIssue]
                if reason not in told:
                    print(f"  not measured: {reason}")
                told.add(reason)
    if options.json:
        print(json.dumps({"machine": machine, "peak_gflops": peak, "rows": results}, indent=2))


if __name__ == "__main__":
    main()
