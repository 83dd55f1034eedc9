"""One source for every machine: built by zig cc for others, run under qemu and in Node, it classifies a picture as it does here.

And what zig cc makes of the products' inner loops: sums stay in registers, and a WebAssembly module has its functions.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import shufflenet
from shufflenet.compiler.c.emit import main_program
from shufflenet.compiler.run.build import FLAGS, build, compile_command, write_source
from shufflenet.deploy.compile import FLOAT32, Numbers, compile_source

from ..native import RUN_IN_NODE

SIZE = (33, 41)
# Static, so that no other machine's C library need be installed.
MACHINES = {
    "x86_64": ((), ()),
    "aarch64": (("-target", "aarch64-linux-musl", "-static"), ("qemu-aarch64",)),
    "riscv64": (("-target", "riscv64-linux-musl", "-static"), ("qemu-riscv64",)),
    "wasm32": (("-target", "wasm32-wasi", "-mcpu=generic+simd128"), ("node", "--no-warnings", "run.mjs")),
    "wasm32-relaxed": (
        ("-target", "wasm32-wasi", "-mcpu=generic+simd128+relaxed_simd"),
        ("node", "--no-warnings", "run.mjs"),
    ),
}


# float16, computed in floats by the processor's conversions and by bits, and in halves.
HALF_MACHINES = {
    "x86_64": MACHINES["x86_64"],
    "aarch64": MACHINES["aarch64"],
    "aarch64-fp16": ((*MACHINES["aarch64"][0], "-mcpu=generic+fullfp16"), ("qemu-aarch64", "-cpu", "max")),
    "riscv64": MACHINES["riscv64"],
    "wasm32": MACHINES["wasm32"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def half_folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("halves"), Numbers("float16"))


def written(folder, numbers=FLOAT32):
    """A small network's source and program, and a picture for it."""
    torch.manual_seed(0)
    net = shufflenet.create("shufflenet_x0_25_g3", num_classes=10, stem="small").eval()
    source = compile_source(net, SIZE, name="tiny", numbers=numbers).source
    write_source(source, folder)
    (folder / "main.c").write_text(main_program(source))
    (folder / "run.mjs").write_text(RUN_IN_NODE)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    (folder / "picture.ppm").write_bytes(b"P6\n%d %d\n255\n" % (SIZE[1], SIZE[0]) + pixels.tobytes())
    return folder


def classify(folder, command, flags, runner) -> np.ndarray:
    subprocess.run([*command, *FLAGS, *flags, "main.c", "tiny.c", "-o", "main"], cwd=folder, check=True)
    program = (*runner, "main") if runner and runner[0] == "node" else (*runner, "./main")
    done = subprocess.run([*program, "picture.ppm"], cwd=folder, capture_output=True, text=True, check=True)
    return np.array(done.stdout.split(), np.float64).reshape(-1, 2)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_sees_the_same_classes(folder, machine):
    flags, runner = MACHINES[machine]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    expected = classify(folder, ["gcc"], ["-DLANES=1"], ())
    actual = classify(folder, [sys.executable, "-m", "ziglang", "cc"], flags, runner)
    np.testing.assert_array_equal(actual[:, 0], expected[:, 0])
    np.testing.assert_allclose(actual[:, 1], expected[:, 1], atol=1e-4 * np.abs(expected[:, 1]).max(), rtol=0)


@pytest.mark.parametrize("machine", HALF_MACHINES)
def test_halves_are_near_floats_on_every_machine(folder, half_folder, machine):
    flags, runner = HALF_MACHINES[machine]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    expected = dict(classify(folder, ["gcc"], ["-DLANES=1"], ()))
    found = dict(classify(half_folder, [sys.executable, "-m", "ziglang", "cc"], flags, runner))
    assert max(found, key=found.__getitem__) == max(expected, key=expected.__getitem__)
    apart = max(abs(found[label] - expected[label]) for label in found.keys() & expected.keys())
    assert 0 < apart <= 5e-3 * max(map(abs, expected.values()))


def loops(assembly: str) -> Iterator[tuple[str, list[str]]]:
    """Each innermost loop of the product tiles: the function's name and the instructions from the loop's label to the jump back."""
    for function in re.finditer(r"^(product_\w+):[^\n]*\n(.*?)^\.Lfunc_end", assembly, re.MULTILINE | re.DOTALL):
        labels: dict[str, int] = {}
        instructions: list[str] = []
        for line in function[2].splitlines():
            if label := re.match(r"(\.L\w+):", line):
                labels[label[1]] = len(instructions)
            elif re.match(r"\s+[a-z]", line):
                instructions.append(line.strip())
                target = re.search(r"(\.L\w+)$", line)
                if target and target[1] in labels:
                    body = instructions[labels[target[1]] :]
                    if not any(re.search(r"\.L\w+$", instruction) for instruction in body[:-1]):
                        yield function[1], body


@pytest.mark.parametrize("target", ["x86_64-v2", "x86_64-v3", "x86_64-v4", "aarch64"])
def test_sums_stay_in_registers(folder, target):
    check_registers(folder, target, r"fmla|vfmadd\d+ps|mulps")


@pytest.mark.parametrize(
    ("target", "multiply"), [("aarch64-fp16", r"fmla\s.*\.8h"), ("x86_64-v4-fp16", r"vfmadd\d+ph")]
)
def test_sums_of_halves_stay_in_registers(half_folder, target, multiply):
    """This machine has no AVX512-FP16, and no emulator of it is at hand: here it is compiled alone."""
    check_registers(half_folder, target, multiply)


def check_registers(folder, target, pattern):
    command = [*compile_command(target, (sys.executable, "-m", "ziglang", "cc")), "-Wno-unused-command-line-argument"]
    subprocess.run([*command, "-S", "tiny.c", "-o", "tiny.s"], cwd=folder, check=True)
    multiply = re.compile(pattern)
    products = [
        (name, body)
        for name, body in loops((folder / "tiny.s").read_text(encoding="latin-1"))
        if any(map(multiply.match, body))
    ]
    assert len(products) >= 5
    for name, body in products:
        spilled = [instruction for instruction in body if re.search(r"\[sp|\(%rsp|\(%rbp", instruction)]
        assert not spilled, f"{name} on {target}: {spilled}"


def test_webassembly_multiplies_and_adds_at_once_only_as_the_source_says(folder):
    """LLVM 21 contracts a + b · c to a relaxed_madd of a, b, c, in that order. And loads take offsets, instead of an addition each."""
    command = [
        *compile_command("wasm32-relaxed", (sys.executable, "-m", "ziglang", "cc")),
        "-Wno-unused-command-line-argument",
    ]
    subprocess.run([*command, "-S", "tiny.c", "-o", "tiny.s"], cwd=folder, check=True)
    assembly = (folder / "tiny.s").read_text(encoding="latin-1")
    tile = re.search(r"^product_3x3\w*:.*?loop(.*?)end_loop", assembly, re.MULTILINE | re.DOTALL)
    assert tile
    assert tile[1].count("f32x4.relaxed_madd") == 9
    assert "f32x4.add" not in tile[1]
    assert re.search(r"v128.load\s+32", tile[1])
    assert re.search(r"v128.load32_splat\s+8", tile[1])


def test_a_webassembly_module_exports_what_the_header_declares():
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    torch.manual_seed(0)
    net = shufflenet.create("shufflenet_x0_25_g3", num_classes=10, stem="small").eval()
    module = build(compile_source(net, SIZE, name="tiny").source, "wasm32")
    script = "WebAssembly.Module.exports(new WebAssembly.Module(require('fs').readFileSync(process.argv[1]))).map(e => e.name)"
    done = subprocess.run(
        ["node", "-e", f"console.log(JSON.stringify({script}))", str(module)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"memory", "tiny_run", "tiny_run_rgb8"} <= set(json.loads(done.stdout))
