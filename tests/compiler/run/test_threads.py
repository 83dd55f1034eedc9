"""Compiled networks on several threads: the bits of one thread, whoever calls, and how many pictures there are."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest

from shufflenet.compiler import CompiledNetwork, CompileError, Pixels, compile_onnx
from shufflenet.compiler.run.threads import _build

from ..native import KERNELS, load_native
from ..networks import Builder

SIZE = (3, 64, 96)


def convolution(b: Builder, x: str, out: int, inner: int, kernel: int = 1, **attributes: object) -> str:
    weights = b.weights(out, inner, kernel, kernel), b.weights(out)
    return b.node("Conv", x, *weights, pads=[kernel // 2] * 4, **attributes)


@pytest.fixture(scope="module", autouse=True)
def quick_compiler(tmp_path_factory):
    """gcc in a hurry, and a cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHUFFLENET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CC", "gcc -O1")
        yield


@pytest.fixture(scope="module")
def alone(quick_compiler, tmp_path_factory) -> CompiledNetwork:
    """A stem, a residual unit and a classifier, on one thread."""
    b = Builder()
    x = b.node("Relu", convolution(b, "x", 24, 3, 3, strides=[2, 2]))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = b.node("Relu", convolution(b, x, 60, 24))
    y = convolution(b, convolution(b, y, 60, 1, 3, group=60), 24, 60)
    y = b.node("Relu", b.node("Add", x, y))
    y = b.node("Gemm", b.node("Flatten", b.node("GlobalAveragePool", y)), b.weights(24, 10), b.weights(10))
    model = b.model({"x": (1, *SIZE)}, [y])
    compiled = compile_onnx(model, name="net", pixels=Pixels((0, 1, 2), (0.1, 0.2, 0.3), (-1.0, -2.0, -3.0)))
    assert sum(step.tasks is not None for step in compiled.plan.steps) >= 4
    return load_native(compiled.source, tmp_path_factory.mktemp("net"))


def on(alone: CompiledNetwork, threads: int) -> CompiledNetwork:
    return CompiledNetwork(alone.library, alone.signature, threads)


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal((*shape, *SIZE)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 7, 16])
def test_any_number_of_threads_gives_the_same_bits(alone, threads):
    network = on(alone, threads)
    assert network.arena_bytes == alone.arena_bytes + (threads - 1) * alone.signature.worker_bytes
    for batch in (pictures(), pictures(1), pictures(3), pictures(33)):
        np.testing.assert_array_equal(network(batch), alone(batch))
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE[1:], 3), dtype=np.uint8)
    np.testing.assert_array_equal(network.run_rgb8(pixels), alone.run_rgb8(pixels))


def test_whoever_calls_while_the_threads_are_busy_is_served(alone):
    network, batch = on(alone, 2), pictures(40)
    expected = alone(batch)
    with ThreadPoolExecutor(4) as callers:
        for result in callers.map(network, [batch] * 12):
            np.testing.assert_array_equal(result, expected)


def test_threads_that_slept_wake_up(alone):
    network, batch = on(alone, 3), pictures(4)
    expected = alone(batch)
    for _ in range(3):
        np.testing.assert_array_equal(network(batch), expected)
        sleep(0.05)


def test_a_forked_process_has_threads_of_its_own(alone):
    network, batch = on(alone, 2), pictures(5)
    expected = network(batch)
    child = os.fork()
    if child == 0:
        os._exit(not (network(batch) == expected).all())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(network(batch), expected)


def test_more_arrays_than_can_be_dealt_are_run_one_by_one(quick_compiler, tmp_path):
    b = Builder()
    y = b.node("Relu", convolution(b, "x", 60, 3, 3))
    model = b.model({"x": (1, *SIZE)}, [y] * 1 + [b.node("Sigmoid", y) for _ in range(8)])
    network = load_native(compile_onnx(model, name="many").source, tmp_path, threads=3)
    batch = pictures(4)
    for found, expected in zip(network(batch), CompiledNetwork(network.library, network.signature)(batch), strict=True):
        np.testing.assert_array_equal(found, expected)


PROGRAM = """
#include <cstdio>
#include <cstring>
#include <vector>
#include "net.h"
#include "threads.h"
int main() {
  shufflenet::Threads threads(3);
  std::vector<float> input(NET_INPUT_FLOATS, 0.5f), expected(NET_OUTPUT_FLOATS), found(NET_OUTPUT_FLOATS);
  std::vector<char> arena(NET_ARENA_BYTES_FOR(3));
  net_run(input.data(), expected.data(), arena.data());
  net_run_on(input.data(), found.data(), arena.data(), threads_for, &threads);
  return std::memcmp(found.data(), expected.data(), 4 * NET_OUTPUT_FLOATS) != 0;
}
"""


def test_the_header_serves_cpp(alone, tmp_path):
    (tmp_path / "main.cpp").write_text(PROGRAM)
    includes = [f"-I{KERNELS}", f"-I{alone.library.parent}"]
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pthread"]
    program = [
        str(tmp_path / "main.cpp"),
        str(alone.library),
        f"-Wl,-rpath,{alone.library.parent}",
        "-o",
        str(tmp_path / "main"),
    ]
    subprocess.run(["g++", *flags, *includes, *program], check=True)
    subprocess.run([str(tmp_path / "main")], check=True)


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_an_impossible_number_of_threads_is_refused(alone, threads):
    with pytest.raises(CompileError, match=f"{threads} threads are out of range; choose 1 to 64"):
        on(alone, threads)


def test_the_library_of_threads_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    # A process remembers where it was, and another test had another cache.
    first, second = _build.__wrapped__(), _build.__wrapped__()
    assert first == second
    assert list(tmp_path.glob("*/threads.so")) == [first]
