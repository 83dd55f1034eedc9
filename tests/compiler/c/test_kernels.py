"""Every kernel against the numpy interpreter, at odd sizes, for each vector width, by one C compiler and its warnings as errors."""

from dataclasses import replace

import numpy as np
import pytest

from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.c.source import Pixels
from shufflenet.compiler.graph.ir import (
    Pool,
)
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.plan import make_plan, memory
from shufflenet.compiler.plan.steps import Product, Stem
from shufflenet.compiler.run.build import build, write_source
from shufflenet.compiler.run.network import load

from ..kernels import (
    GRAPHS,
    WIDTHS,
    Net,
    check_numbers,
    check_what_is_not_finite,
    check_writes,
    depthwise,
    pools,
    products,
    random_inputs,
    run,
    stems,
)
from ..native import gcc


@pytest.mark.parametrize("size", [(32, 64), (33, 64), (32, 65)], ids=str)
def test_a_pool_in_ceil_mode_whose_last_windows_overhang_is_made_apart(size, tmp_path):
    """Such a window meets one row or column of the convolution alone, and what lies beyond that counts for nothing."""
    net = Net()
    window = {"stride": (2, 2), "padding": (1, 1, 1, 1)}
    y = net.convolution(net.input(3, *size), 5, kernel=(3, 3), **window)
    net.graph = replace(net.graph, outputs=())
    net.add(Pool, (5, *((n + 1) // 4 + 1 for n in size)), kind="max", input=y, kernel=(3, 3), **window)
    inputs = random_inputs(net.graph)
    (value,) = run(net.graph, tmp_path, WIDTHS["8 lanes"], inputs).values()
    (expected,) = interpret(net.graph, inputs).values()
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_stems_are_made_in_one_pass():
    planned = [step for step in make_plan(stems()).steps if isinstance(step, Stem)]
    assert {(step.pooled_size is None, step.in_place) for step in planned} == {
        (False, False),
        (True, False),
        (True, True),
    }
    assert len(planned) == 15


@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
def test_a_stem_takes_pixels_whatever_the_order_of_its_channels(tmp_path, monkeypatch, pooled):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    net = Net()
    x = net.input(3, 12, 34)
    window = {"stride": (2, 2), "padding": (1, 1, 1, 1)}
    y = net.convolution(x.select([2, 0]), 5, kernel=(3, 3), **window)
    if pooled:
        net.graph = replace(net.graph, outputs=())
        net.add(Pool, (5, 3, 9), kind="max", input=y, kernel=(3, 3), **window)
    pixels = Pixels((1, 2, 0), (0.5, 0.25, 0.125), (-1.0, -2.0, 3.0))
    network = load(build(emit(make_plan(net.graph), "net", title="", version="", pixels=pixels)))
    picture = net.random.integers(0, 256, (12, 34, 3), dtype=np.uint8)
    planes = (picture[:, :, pixels.order] * np.float32(pixels.scale) + np.float32(pixels.shift)).transpose(2, 0, 1)
    expected = interpret(net.graph, {x.tensor: planes[None].astype(np.float32)})
    np.testing.assert_allclose(network.run_rgb8(picture), next(iter(expected.values()))[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("flags", WIDTHS.values(), ids=list(WIDTHS))
@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_kernels_compute_what_the_interpreter_does(make, flags, tmp_path):
    check_numbers(make(), tmp_path, flags)


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_nothing_is_written_beside_tensors(make, tmp_path, monkeypatch):
    check_writes(make(), tmp_path, monkeypatch)


@pytest.mark.parametrize("flags", [WIDTHS["scalar"], WIDTHS["8 lanes"]], ids=["scalar", "8 lanes"])
@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_gcc_warns_of_nothing_without_optimisation_either(make, flags, tmp_path):
    source = emit(make_plan(make()), "net", title="A test", version="0")
    write_source(source, tmp_path)
    gcc("-O0", "-mavx2", "-mfma", *flags, "-c", str(tmp_path / "net.c"), "-o", str(tmp_path / "net.o"))


@pytest.mark.parametrize("flags", WIDTHS.values(), ids=list(WIDTHS))
def test_products_of_planes_beyond_the_caches_are_the_same(flags, tmp_path, monkeypatch):
    """As in large pictures: chunk by chunk, fetched ahead. The largest planes here have 4 chunks of 48 pixels, and 4 pixels more."""
    monkeypatch.setattr(memory, "USUAL", replace(memory.USUAL, far_bytes=0, chunk_bytes=0))
    graph = products()
    products_planned = [step for step in make_plan(graph).steps if isinstance(step, Product)]
    assert {(step.far, len(step.chunks)) for step in products_planned} == {(True, 1), (True, 2)}
    check_numbers(graph, tmp_path, flags)


@pytest.mark.parametrize("flags", [WIDTHS["scalar"], WIDTHS["8 lanes"]], ids=["scalar", "8 lanes"])
@pytest.mark.parametrize("make", [products, depthwise, pools, stems], ids=lambda make: make.__name__)
def test_nan_and_infinity_go_where_they_should(make, flags, tmp_path):
    check_what_is_not_finite(make(), tmp_path, flags)
