"""The compiled network in Node against onnxruntime-web: WebAssembly SIMD, one thread, medians taken in turn.

    npm install --prefix somewhere onnxruntime-web
    python benchmarks/wasm.py --node-modules somewhere/node_modules

    python benchmarks/wasm.py --node-modules somewhere/node_modules --target wasm32-relaxed
    python benchmarks/wasm.py --int8 --target wasm32-relaxed       # our int8 beside our float32, no onnxruntime-web

Times are CPU time of the process, so other work on the machine disturbs them little.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import onnx
import torch
from quantized import quantized

from shufflenet import nets
from shufflenet.compiler import compile_onnx
from shufflenet.compiler.run.build import build
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

# Times as fast as onnxruntime-web.
AT_LEAST = {
    "shufflenet_x1_0_g3": 1.8,
    "shufflenet_x0_5_g3": 2.0,
    "shufflenet_x0_25_g3": 2.0,
}


def compare(name: str, size: tuple[int, int], node_modules: Path, runs: int, target: str) -> dict[str, float]:
    """Milliseconds of both, and how much faster ours is."""
    torch.manual_seed(0)
    net = nets.create(name).eval()
    compiled = compile_source(net, size)
    module = build(compiled.source, target)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(to_onnx(Exportable(net, size)), f"{folder}/{name}.onnx")
        script = Path(__file__).with_suffix(".mjs")
        numbers = (*size, compiled.plan.arena_bytes, runs)
        command = ["node", script, node_modules, module, f"{folder}/{name}.onnx", name, *map(str, numbers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout)
    return figures | {"ratio": figures["onnxruntime-web"] / figures["compiled"]}


def compare_int8(name: str, size: tuple[int, int], runs: int, target: str) -> dict[str, float]:
    """Milliseconds of our float32 and our int8, from the files of one quantizer, and how much faster int8 is."""
    with tempfile.TemporaryDirectory() as folder:
        float_file, int8_file, _ = quantized(name, size, Path(folder))
        modules = []
        for file in (float_file, int8_file):
            compiled = compile_onnx(file, size, name=name)
            modules += [build(compiled.source, target), compiled.plan.arena_bytes]
        script = Path(__file__).with_name("wasm_int8.mjs")
        command = ["node", script, *modules, name, *size, runs]
        done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout)
    return figures | {"ratio": figures["float32"] / figures["int8"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(AT_LEAST), metavar="NETWORK")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--node-modules", type=Path, help="where npm put onnxruntime-web")
    where.add_argument("--int8", action="store_true", help="our int8 and our float32")
    parser.add_argument("--size", default="224x224", help="height × width")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--target", default="wasm32", help="of `shufflenet compile --build`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    report = {}
    for name in options.networks:
        if options.int8:
            found = report[name] = compare_int8(name, (height, width), options.runs, options.target)
            if not options.json:
                both = f"float32 {found['float32']:.2f} ms, int8 {found['int8']:.2f} ms"
                print(f"{name:20} {both}: {found['ratio']:.2f} times as fast", flush=True)
            continue
        found = report[name] = compare(name, (height, width), options.node_modules, options.runs, options.target)
        if not options.json:
            wanted = f" (at least {AT_LEAST[name]})" if name in AT_LEAST else ""
            both = f"{found['compiled']:.2f} ms, onnxruntime-web {found['onnxruntime-web']:.2f} ms"
            print(f"{name:20} {both}: {found['ratio']:.2f} times as fast{wanted}", flush=True)
    if options.json:
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
