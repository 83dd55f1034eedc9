"""The whole way: a network of ours, compiled, loaded and called, held to torch; and what the source promises."""

import platform
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import shufflenet
from shufflenet.cli.compile import compile as compile_verb
from shufflenet.compiler import CompileError, build, compile_onnx
from shufflenet.compiler.c.emit import main_program
from shufflenet.compiler.run.build import TARGETS, compile_command, find_compiler, machine_target, write_source
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from ..native import load_native
from ..networks import Builder

SIZE = (65, 90)


@pytest.fixture(scope="module", params=["shufflenet_x0_25_g3", "mobilenet_x0_25"])
def net(request):
    torch.manual_seed(0)
    return shufflenet.create(request.param, num_classes=10).eval()


@pytest.fixture(scope="module")
def compiled(net):
    return compile_source(net, SIZE)


@pytest.fixture(scope="module")
def network(compiled, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHUFFLENET_CACHE", str(tmp_path_factory.mktemp("cache")))
        return compiled.load()


def close(actual, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_it_computes_what_torch_does(net, network):
    x = torch.randn(3, 3, *SIZE)
    with torch.inference_mode():
        expected = net(x).numpy()
    close(network(x.numpy()), expected)
    close(network(x[1]), expected[1])
    close(network(x[:1]), expected[0])
    assert network(x[0]).shape == (10,)


def test_arrays_that_do_not_lie_in_order_are_copied(network):
    x = torch.randn(*SIZE, 3).permute(2, 0, 1)
    np.testing.assert_array_equal(network(x), network(x.contiguous()))


def test_pixels_are_normalised_as_the_metadata_say(net, network):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    preprocessing = Exportable(net, SIZE).metadata.preprocessing
    x = ((pixels / 255 - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1).astype(np.float32)
    close(network.run_rgb8(pixels), network(x))
    wide = np.zeros((SIZE[0], SIZE[1] + 7, 3), np.uint8)
    wide[:, : SIZE[1]] = pixels
    np.testing.assert_array_equal(network.run_rgb8(wide[:, : SIZE[1]]), network.run_rgb8(pixels))


def test_wrong_inputs_are_refused(network):
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\); the network takes \(3, 65, 90\)"):
        network(np.zeros((3, 8, 8), np.float32))
    with pytest.raises(ValueError, match="2 inputs were given"):
        network(np.zeros((3, *SIZE), np.float32), np.zeros(3))
    with pytest.raises(ValueError, match="have no clock"):
        network.time_steps(np.zeros((3, *SIZE), np.float32))
    with pytest.raises(ValueError, match="float64"):
        network.run_rgb8(np.zeros((*SIZE, 3)))


def test_threads_at_once_get_the_same_bits(network):
    inputs = np.random.default_rng(0).standard_normal((8, 3, *SIZE)).astype(np.float32)
    expected = [network(x) for x in inputs]
    found = [None] * 8

    def work(i):
        for _ in range(5):
            found[i] = network(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, expected)


def test_the_second_build_is_the_first(compiled, network, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(network.library.parent.parent))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("compiled again"))
    assert build(compiled.source) == network.library


def test_weights_may_lie_in_a_file(net, network, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    apart = compile_onnx(to_onnx(Exportable(net, SIZE)), name="apart", embed=False)
    assert len(apart.source.weights) == apart.plan.weights.nbytes
    x = np.random.default_rng(0).standard_normal((3, *SIZE)).astype(np.float32)
    np.testing.assert_array_equal(apart.load()(x), network(x))


def test_the_same_network_gives_the_same_bytes(net, compiled):
    assert compile_source(net, SIZE).source == compiled.source


def test_no_byte_outside_the_promised_memory_is_touched(compiled, network, tmp_path):
    """AddressSanitizer and UndefinedBehaviorSanitizer, with every buffer exactly as large as the header says."""
    source, macro = compiled.source, compiled.source.name.upper()
    write_source(source, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    pixels.tofile(tmp_path / "pixels")
    planes.tofile(tmp_path / "planes")
    (tmp_path / "main.c").write_text(f"""
#include <stdio.h>
#include <stdlib.h>
#include "{source.name}.h"
static void *contents(const char *name, size_t bytes) {{
  void *const buffer = malloc(bytes);
  FILE *const file = fopen(name, "rb");
  if (fread(buffer, 1, bytes, file) != bytes) exit(1);
  return buffer;
}}
static void print(const float *output) {{
  for (int i = 0; i < {macro}_OUTPUT_FLOATS; i++) printf("%.9g\\n", output[i]);
}}
int main(void) {{
  void *const pixels = contents("pixels", {pixels.nbytes}), *const planes = contents("planes", {planes.nbytes});
  void *const arena = malloc({macro}_ARENA_BYTES);
  float *const output = malloc(4 * {macro}_OUTPUT_FLOATS);
  {source.name}_run(planes, output, arena);
  print(output);
  {source.name}_run_rgb8(pixels, 3 * {SIZE[1]}, output, arena);
  print(output);
}}""")
    flags = ["-O1", "-g1", "-std=c11", "-mavx2", "-mfma", "-ffp-contract=fast", "-Wall", "-Wextra", "-Werror"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *flags, "main.c", f"{source.name}.c", "-o", "main"], cwd=tmp_path, check=True)
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[:3000]
    of_planes, of_pixels = np.array(done.stdout.split(), np.float32).reshape(2, -1)
    close(of_planes, network(planes))
    close(of_pixels, network.run_rgb8(pixels))


def test_the_source_asks_for_nothing(compiled, tmp_path):
    """No undefined symbol but memcpy and memset, and nothing that could be written."""
    source = compiled.source
    (tmp_path / f"{source.name}.c").write_text(source.c)
    (tmp_path / f"{source.name}.h").write_text(source.h)
    command = ["gcc", "-O2", "-std=c11", "-march=x86-64-v3", "-fno-math-errno", "-Wall", "-Wextra", "-Werror", "-c"]
    subprocess.run([*command, f"{source.name}.c", "-o", "net.o"], cwd=tmp_path, check=True)
    symbols = subprocess.run(["nm", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    kinds = {line.split()[-1]: line.split()[-2] for line in symbols if line}
    assert {name for name, kind in kinds.items() if kind == "U"} <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    assert {name for name, kind in kinds.items() if kind == "T"} == {
        f"{source.name}_{function}" for function in ("run", "run_on", "run_rgb8", "run_rgb8_on")
    }
    assert not {name for name, kind in kinds.items() if kind in "dDbBC"}


def test_the_program_classifies_a_picture(compiled, network, tmp_path):
    source = compiled.source
    (tmp_path / f"{source.name}.c").write_text(source.c)
    (tmp_path / f"{source.name}.h").write_text(source.h)
    (tmp_path / "main.c").write_text(main_program(source))
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    (tmp_path / "picture.ppm").write_bytes(b"P6\n%d %d\n255\n" % (SIZE[1], SIZE[0]) + pixels.tobytes())
    flags = ["-O2", "-std=c11", "-march=x86-64-v3", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", f"{source.name}.c", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(["./main", "picture.ppm"], cwd=tmp_path, capture_output=True, text=True, check=True)
    logits = network.run_rgb8(pixels)
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == np.argsort(-logits)[:5].tolist()
    assert subprocess.run(["./main", "main.c"], cwd=tmp_path, capture_output=True).returncode == 2


def test_a_compiler_is_found_or_named(monkeypatch):
    monkeypatch.setenv("CC", "my-cc -m64")
    assert find_compiler() == ("my-cc", "-m64")
    with pytest.raises(CompileError, match="my-cc does not build for aarch64"):
        compile_command("aarch64")
    with pytest.raises(CompileError, match="no target 'z80'; choose one of native"):
        compile_command("z80")


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [((), "x86_64-v4-fp16"), (("avx512_fp16",), "x86_64-v4-vnni"), (("avx512_fp16", "avx512_vnni"), "x86_64-v4"),
     (("avx512bw", "avx512_vnni"), "x86_64-v3-vnni"),
     (("avx512f", "avx_vnni"), "x86_64-v3"), (("avx2",), "x86_64-v2"), (("popcnt",), "native")],
    ids=str,
)  # fmt: skip
def test_the_target_is_the_best_that_the_processor_has(left_out, expected, monkeypatch):
    flags = set().union(*(target.needs for target in TARGETS.values())) - set(left_out)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path: f"model name\t: A\nflags\t\t: {' '.join(sorted(flags))}\n")
    assert machine_target() == expected


def test_every_target_is_named_by_the_help():
    assert all(f" {target}" in compile_verb.__annotations__["build"].__metadata__[0].help for target in TARGETS)


def test_a_name_that_c_cannot_have_is_refused(net):
    with pytest.raises(CompileError, match="'1x' cannot begin a C function's name"):
        compile_onnx(to_onnx(Exportable(net, SIZE)), name="1x")


def test_names_in_the_file_do_not_end_the_comments_of_the_source(tmp_path):
    b = Builder()
    model = b.model({"x*/ #error /*": (1, 2, 3, 3)}, [b.node("Relu", "x*/ #error /*")])
    model.graph.node[0].name = "*/*/ int"
    assert (load_native(compile_onnx(model, title="*/ A /*").source, tmp_path)(-np.ones((2, 3, 3))) == 0).all()


def test_weights_apart_need_not_be_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    b = Builder()
    relu = compile_onnx(b.model({"x": (1, 2, 3, 4)}, [b.node("Relu", "x")]), name="relu", embed=False).load()
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(relu(x), np.maximum(x, 0))
