"""Instructions that a compiled network executes for each multiply-add on aarch64, counted exactly, one by one, under qemu.

    apt install qemu-user gcc
    python benchmarks/aarch64.py
    python benchmarks/aarch64.py --element float16
    python benchmarks/aarch64.py --int8      # beside float32, with dot products and without; one quantizer's files

A NEON instruction does 4 multiply-adds of float32, so 0.25 is the least; of float16 8, so 0.125. Loads, weights and stores come on top. It
says nothing of milliseconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from quantized import quantized

from shufflenet import nets
from shufflenet.compiler import Compiled, compile_onnx
from shufflenet.compiler.graph.elements import NumberType
from shufflenet.compiler.run.build import FLAGS, write_source
from shufflenet.deploy.compile import Numbers, compile_source

NETWORKS = ("shufflenet_x1_0_g3", "shufflenet_x0_5_g3", "shufflenet_x0_25_g3", "shufflenet_x1_0_g8", "mobilenet_x1_0")
TARGET = ("-target", "aarch64-linux-musl", "-static")
DOT_PRODUCTS = ("-mcpu=generic+dotprod",)
MACHINES: dict[NumberType, tuple[str, ...]] = {"float32": (), "float16": ("-mcpu=generic+fullfp16",)}
MAIN = """
#include "{name}.h"
#include <stdlib.h>
static float input[{macro}_INPUT_FLOATS], output[{macro}_OUTPUT_FLOATS];
static _Alignas(64) char arena[{macro}_ARENA_BYTES];
int main(int count, char **arguments) {{
  (void)count;
  for (int i = atoi(arguments[1]); i > 0; i--) {name}_run(input, output, arena);
}}
"""


def instructions_per_multiply_add(compiled: Compiled, features: tuple[str, ...], plugin: Path, folder: Path) -> float:
    """The difference between a program that runs the network twice and one that runs it once."""
    name = compiled.source.name
    write_source(compiled.source, folder)
    (folder / "main.c").write_text(MAIN.format(name=name, macro=name.upper()))
    command = [sys.executable, "-m", "ziglang", "cc", *TARGET, *features, *FLAGS, "main.c", f"{name}.c", "-o", name]
    subprocess.run(command, cwd=folder, check=True)

    def count(times: int) -> int:
        emulated = ["qemu-aarch64", "-cpu", "max", "-plugin", str(plugin), f"./{name}", str(times)]
        return int(subprocess.run(emulated, cwd=folder, check=True, capture_output=True, text=True).stderr)

    return (count(2) - count(1)) / compiled.plan.multiply_adds


def of_numbers(name: str, size: tuple[int, int], plugin: Path, folder: Path, element: NumberType) -> dict[str, float]:
    torch.manual_seed(0)
    compiled = compile_source(nets.create(name).eval(), size, numbers=Numbers(element))
    return {element: instructions_per_multiply_add(compiled, MACHINES[element], plugin, folder)}


def of_int8(name: str, size: tuple[int, int], plugin: Path, folder: Path) -> dict[str, float]:
    float_file, int8_file, _ = quantized(name, size, folder)
    float32, int8 = (compile_onnx(file, size, name=name) for file in (float_file, int8_file))
    return {
        "float32": instructions_per_multiply_add(float32, (), plugin, folder),
        "int8": instructions_per_multiply_add(int8, (), plugin, folder),
        "int8 with dot products": instructions_per_multiply_add(int8, DOT_PRODUCTS, plugin, folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--size", default="224x224", help="height × width")
    parser.add_argument("--element", choices=MACHINES, default="float32", help="what the networks compute with")
    parser.add_argument("--int8", action="store_true", help="int8 beside float32")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plugin, source = folder / "count.so", Path(__file__).with_name("count_instructions.c")
        command = ["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", str(source), "-o", str(plugin)]
        subprocess.run(command, check=True)
        for name in options.networks:
            count = of_int8 if options.int8 else partial(of_numbers, element=options.element)
            found = report[name] = count(name, (height, width), plugin, folder)
            if not options.json:
                each = ", ".join(f"{what} {value:.3f}" for what, value in found.items())
                print(f"{name:20} instructions for each multiply-add: {each}", flush=True)
    if options.json:
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
