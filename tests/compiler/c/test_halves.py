"""float16 weights and planes: every kernel against the numpy interpreter, whose rounding is stated, for each vector width."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import Copy
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.machines import USUAL
from shufflenet.compiler.plan.steps import Strips
from shufflenet.compiler.simplify.halve import halve

from ..kernels import (
    GRAPHS,
    WIDTHS,
    Net,
    check_what_is_not_finite,
    check_writes,
    depthwise,
    pools,
    products,
    random_inputs,
    run,
    simple,
    stems,
    units,
    vectors,
)
from ..native import load_native, run_sanitized, run_with_half_arithmetic

# With the processor's conversions, and without.
CONVERSIONS = {
    **WIDTHS,
    "8 lanes, F16C": ["-DLANES=8", "-mf16c"],
    "16 lanes, AVX-512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-Wno-psabi"],
}
SOME_CONVERSIONS = [
    *((make, "16 lanes, AVX-512") for make in (products, depthwise, pools, stems)),
    *((make, "4 lanes") for make in (products, simple)),
    (stems, "scalar"),
]
ULP = 2.0**-10


def check(graph, folder, flags, tolerance):
    """The largest difference of each output, over the largest number of it."""
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    for name, value in run(graph, folder, flags, inputs).items():
        apart = np.abs(value - expected[name]).max(initial=0)
        assert apart <= tolerance * np.abs(expected[name]).max(), f"{name}: {apart}"


@pytest.mark.parametrize(
    ("make", "how"),
    [*((make, "8 lanes, F16C") for make in GRAPHS), *SOME_CONVERSIONS],
    ids=lambda of: of if isinstance(of, str) else of.__name__,
)
def test_planes_and_weights_in_halves(make, how, tmp_path):
    """Sums are floats, so that only a tie may be rounded to the other side: by a unit of the last place."""
    check(halve(make(), tensors=True), tmp_path, CONVERSIONS[how], ULP)


@pytest.mark.parametrize("how", ["8 lanes, F16C", "scalar"])
@pytest.mark.parametrize("make", [products, depthwise, vectors, stems], ids=lambda make: make.__name__)
def test_weights_alone_in_halves(make, how, tmp_path):
    check(halve(make(), tensors=False), tmp_path, CONVERSIONS[how], 2e-5)


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed")
@pytest.mark.parametrize("make", [products, depthwise, pools, stems, simple, units], ids=lambda make: make.__name__)
def test_arithmetic_in_halves(make, tmp_path):
    """Up to 40 products are summed up in halves, each sum rounded: a few units of the last place."""
    graph = halve(make(), tensors=True)
    plan = make_plan(graph)
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    source = emit(plan, "net", title="A test", version="0")
    found = run_with_half_arithmetic(source, plan, inputs, tmp_path)
    for value, (name, exact) in zip(found, expected.items(), strict=True):
        assert np.abs(value - exact).max() <= 6 * ULP * np.abs(exact).max(), name


@pytest.mark.parametrize("make", [products, depthwise, pools, stems, units], ids=lambda make: make.__name__)
def test_nothing_is_written_beside_tensors(make, tmp_path, monkeypatch):
    check_writes(halve(make(), tensors=True), tmp_path, monkeypatch, CONVERSIONS["16 lanes, AVX-512"])


@pytest.mark.parametrize("make", [products, stems], ids=lambda make: make.__name__)
def test_nan_and_infinity_go_where_they_should(make, tmp_path):
    check_what_is_not_finite(halve(make(), tensors=True), tmp_path, CONVERSIONS["8 lanes, F16C"])


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_conversions_by_bits_are_ieee_754s(lanes, tmp_path):
    """All halves, and floats between, at and beside them, as copies from the caller's memory and back."""
    net = Net()
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        between = (numbers[:-1] + numbers[1:]) / 2
        floats = np.concatenate([numbers, between, np.nextafter(between, np.float32(np.inf)), -between, between * 3e-5])
    x = net.input(1, 1, len(floats))
    net.add(Copy, (1, 1, len(floats)), pieces=(x,))
    graph = halve(net.graph, tensors=True)
    (found,) = run(graph, tmp_path, [f"-DLANES={lanes}"], {x.tensor: floats.reshape(1, 1, 1, -1)}).values()
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found.reshape(-1), floats.astype(np.float16).astype(np.float32))


def test_strips_and_threads_give_the_same_numbers(tmp_path):
    flags = CONVERSIONS["8 lanes, F16C"]
    graph = halve(units(), tensors=True)
    inputs = random_inputs(graph)
    whole = run(graph, tmp_path, flags, inputs)
    plan = make_plan(graph, replace(USUAL, unit_bytes=0, strip_bytes=4 << 10))
    assert any(isinstance(step, Strips) for step in plan.steps)
    source = emit(plan, "net", title="A test", version="0")
    network = load_native(source, tmp_path, "-O1", "-mavx2", "-mfma", *flags, threads=3)
    for name, value in zip(whole, network(*inputs.values()), strict=True):
        np.testing.assert_allclose(value, whole[name][0], atol=2e-3 * np.abs(whole[name]).max())


@pytest.mark.parametrize("tensors", [False, True])
def test_halves_keep_to_their_memory(tensors, tmp_path):
    graph = halve(products(), tensors=tensors)
    plan = make_plan(graph)
    source = emit(plan, "net", title="A test", version="0", embed=False)
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    found = run_sanitized(source, plan, inputs, tmp_path, "-O1", "-mavx2", "-mfma", "-mf16c")
    for value, name in zip(found, expected, strict=True):
        assert np.abs(value - expected[name]).max() <= ULP * np.abs(expected[name]).max()
