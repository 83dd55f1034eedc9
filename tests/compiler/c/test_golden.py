"""The C of a few tiny networks, to the byte: what a change of the compiler does to it shows in the commit.

Weights are counted, not drawn, and the version in the header comment is a fixed one, so that nothing but the compiler decides the bytes.
Kernels are left out: they are files already, in compiler/c/kernels.
"""

import difflib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest

from shufflenet.compiler import CSource, Pixels
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.compiler.simplify.halve import halve

from ..native import load_native
from ..networks import Builder, difference, random_inputs, run_onnxruntime, shuffle

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "make golden"


class Counted(Builder):
    """A builder whose weights are small eighths, counted up: exact in float32 on every machine."""

    def weights(self, *shape: int) -> str:
        size = int(np.prod(shape))
        return self.constant((np.arange(size) % 7 - 3).reshape(shape) / 8)

    def convolution(self, x: str, out: int, inner: int, kernel: int = 1, **attributes: object) -> str:
        pads = [kernel // 2] * 4
        return self.node(
            "Conv", x, self.weights(out, inner, kernel, kernel), self.weights(out), pads=pads, **attributes
        )


def unit(b: Counted) -> str:
    """A residual unit: grouped product, shuffle, depthwise, grouped product, addition."""
    y = b.node("Relu", b.convolution("x", 4, 4, group=2))
    y = b.convolution(shuffle(b, y, (4, 5, 7), 2, "5d"), 4, 1, 3, group=4)
    return b.node("Relu", b.node("Add", b.convolution(y, 8, 2, group=2), "x"))


def stride_2_unit(b: Counted) -> str:
    """The unit that halves a map: average pool beside the branch, concatenated."""
    y = b.node("Relu", b.convolution("x", 4, 4, group=2))
    y = b.convolution(shuffle(b, y, (4, 6, 9), 2, "3d"), 4, 1, 3, group=4, strides=[2, 2])
    pooled = b.node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    return b.node("Relu", b.node("Concat", pooled, b.convolution(y, 8, 2, group=2), axis=1))


def excitation(b: Counted) -> str:
    """Squeeze and excitation: a mean, two products with a vector, and a factor a plane."""
    y = b.node("Relu", b.convolution(b.node("GlobalAveragePool", "x"), 2, 8))
    return b.node("Mul", "x", b.node("Sigmoid", b.convolution(y, 8, 2)))


def convolution_and_pool(b: Counted) -> str:
    """A convolution through panels and a max-pool."""
    y = b.node("LeakyRelu", b.convolution("x", 5, 8, 3, strides=[2, 2]), alpha=0.125)
    return b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])


def dense(b: Counted) -> str:
    """A convolution by Winograd's algorithm, added to what it read."""
    return b.node("Relu", b.node("Add", b.convolution("x", 32, 32, 3), "x"))


def stem(b: Counted) -> str:
    """A network's two ends: stem with its pool, from floats or 8-bit pixels, mean and classifier."""
    y = b.node("Relu", b.convolution("x", 4, 3, 3, strides=[2, 2]))
    y = b.node("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return b.node("Gemm", b.node("Flatten", b.node("GlobalAveragePool", y)), b.weights(4, 6), b.weights(6))


def half_unit(b: Counted) -> str:
    """A residual unit in half precision."""
    return unit(b)


INPUTS = {
    unit: (8, 5, 7),
    half_unit: (8, 5, 7),
    stride_2_unit: (8, 6, 9),
    excitation: (8, 3, 5),
    convolution_and_pool: (8, 9, 11),
    dense: (32, 14, 14),
    stem: (3, 17, 22),
}


def model_of(network: Callable[[Counted], str]) -> onnx.ModelProto:
    builder = Counted()
    output = network(builder)
    return builder.model({"x": (1, *INPUTS[network])}, [output])


def source_of(network: Callable[[Counted], str], *, timed: bool = False) -> CSource:
    graph = simplify(read_onnx(model_of(network)))
    plan = make_plan(halve(graph, tensors=True) if network is half_unit else graph)
    pixels = Pixels(order=(2, 1, 0), scale=(0.25, 0.5, 1.0), shift=(-1.0, 0.0, 1.0)) if network is stem else None
    title = network.__doc__.splitlines()[0]
    embed = network is not dense  # whose weights are many
    return emit(plan, network.__name__, title=title, version="0", pixels=pixels, embed=embed, timed=timed)


def without_kernels(text: str) -> str:
    for kernel in resources.files("shufflenet.compiler.c.kernels").iterdir():
        if kernel.name.endswith(".c"):
            text = text.replace(kernel.read_text(encoding="utf-8"), f"/* kernels/{kernel.name} */\n")
    return text


@pytest.mark.parametrize("network", INPUTS, ids=lambda network: network.__name__)
def test_the_source_is_the_one_on_file(network, request):
    source = source_of(network)
    for suffix, text in (("c", without_kernels(source.c)), ("h", source.h)):
        path = GOLDEN / f"{source.name}.{suffix}"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != expected:
            lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "on file", "now", lineterm="", n=1)
            shown = "\n".join(list(lines)[:40])
            pytest.fail(
                f"{path.name} is another now. If that is meant, run `{UPDATE}` and read the difference.\n{shown}"
            )


@pytest.mark.parametrize("network", INPUTS, ids=lambda network: network.__name__)
def test_the_source_computes_what_onnxruntime_does(network, tmp_path):
    model = model_of(network)
    inputs = random_inputs(model)
    (expected,) = run_onnxruntime(model, inputs).values()
    tolerance = 5e-3 if network is half_unit else 1e-4
    assert difference(load_native(source_of(network), tmp_path)(*inputs.values())[None], expected) <= tolerance


def test_no_file_is_left_over():
    names = {f"{network.__name__}.{suffix}" for network in INPUTS for suffix in "ch"}
    assert {path.name for path in GOLDEN.iterdir()} == names


def test_a_timed_source_is_the_usual_one_and_one_function_more():
    usual, timed = source_of(unit), source_of(unit, timed=True)
    assert timed.c.startswith(usual.c)
    assert "time.h" not in usual.c
    assert "run_timed" not in usual.h
    assert timed.c.count("run_timed") == 1
