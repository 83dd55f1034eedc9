"""Steps of a network on the clock, which here is the thread's: other processes do not count."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from shufflenet.compiler import compile_onnx
from shufflenet.compiler.run import profile
from shufflenet.compiler.run.profile import StepTime, peak_gflops, time_steps

from ..native import load_native
from ..networks import Builder

# Comes before the source, and puts the thread's clock in the place of the wall's.
THREAD_CLOCK = """#define _POSIX_C_SOURCE 200809L
#include <time.h>
#define timespec_get(time, base) clock_gettime(CLOCK_THREAD_CPUTIME_ID, time)
"""


@pytest.fixture(scope="module")
def compiled():
    """A product of 50 million multiply-adds, an addition of two maps, and a mean."""
    b = Builder()
    y = b.node("Conv", "x", b.weights(128, 128, 1, 1))
    y = b.node("Add", b.node("Relu", y), "x")
    return compile_onnx(b.model({"x": (1, 128, 56, 56)}, [b.node("GlobalAveragePool", y)]), timed=True)


@pytest.fixture(scope="module")
def network(compiled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("timed")
    (folder / "clock.h").write_text(THREAD_CLOCK)
    return load_native(compiled.source, folder, "-O3", "-march=native", "-include", str(folder / "clock.h"))


def test_the_times_of_all_steps_are_the_time_of_a_run(network):
    x = np.random.default_rng(0).standard_normal((128, 56, 56)).astype(np.float32)
    runs, sums = [], []
    for _ in range(20):
        start = time.thread_time_ns()
        network(x)
        runs.append(time.thread_time_ns() - start)
        sums.append(network.time_steps(x).sum())
    assert min(sums) == pytest.approx(min(runs), rel=0.3)


def test_each_step_is_told_with_its_work(compiled, network):
    steps = time_steps(network, compiled.plan, runs=5)
    assert [step.comment for step in steps] == [step.comment for step in compiled.plan.steps]
    assert all(step.nanoseconds > 0 for step in steps)
    product = max(steps, key=lambda step: step.nanoseconds)
    assert product.multiply_adds == 128 * 128 * 56 * 56
    assert "128 → 128" in product.comment


def test_a_rate_counts_a_multiply_add_twice():
    step = StepTime("a", "Product", "", multiply_adds=3_000, nanoseconds=2_000)
    assert step.gflops == 3.0


def test_no_network_is_faster_than_the_peak(compiled, network, monkeypatch):
    """The peak is what arithmetic alone gives: above a product's rate, and no more than the widest vectors could."""
    monkeypatch.setattr(profile, "time", SimpleNamespace(perf_counter=time.thread_time))
    product = max(time_steps(network, compiled.plan, runs=30), key=lambda step: step.multiply_adds)
    peak = peak_gflops()
    assert 0.2 * peak < product.gflops < 1.1 * peak
