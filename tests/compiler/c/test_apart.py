"""Networks of one graph that run apart, against ONNX Runtime."""

import ctypes

import numpy as np
import pytest

from shufflenet.compiler import CompileError, compile_onnx
from shufflenet.compiler.run.build import write_source

from ..native import gcc
from ..networks import Builder, difference, random_inputs, run_onnxruntime

SHAPES = {"picture": (1, 3, 9, 7), "regions": (1, 40, 1, 16)}


def two_networks():
    """Their nodes lie among each other's, and each has two outputs."""
    b = Builder()
    convolved = b.node("Conv", "picture", b.weights(8, 3, 3, 3), pads=[1] * 4)
    hidden = b.node("Relu", b.node("Conv", "regions", b.weights(12, 40, 1, 1)))
    pooled = b.node("MaxPool", b.node("Relu", convolved), kernel_shape=[2, 2], strides=[2, 2])
    outputs = [b.node("Conv", hidden, b.weights(5, 12, 1, 1)), convolved, pooled]
    outputs.append(b.node("Conv", hidden, b.weights(4, 12, 1, 1)))
    return b.model(SHAPES, outputs)


@pytest.mark.parametrize("embed", [True, False])
def test_each_runs_alone_and_often(tmp_path, embed):
    model = two_networks()
    source = compile_onnx(model, name="two", apart=True, embed=embed).source
    assert "two_run(" not in source.h
    write_source(source, tmp_path)
    gcc("-O1", "-march=native", "-fPIC", "-shared", str(tmp_path / "two.c"), "-o", str(tmp_path / "two.so"))
    library = ctypes.CDLL(str(tmp_path / "two.so"))
    weights = [] if embed else [np.fromfile(tmp_path / "two.bin", np.uint8)]
    arena = np.full(source.signature.arena_bytes, 0xFF, np.uint8)
    outputs = [np.full(output.shape, np.nan, np.float32) for output in source.signature.outputs]
    for seed, kinds in enumerate((("picture", "regions", "regions"), ("regions", "picture"))):
        for repeat, kind in enumerate(kinds):
            inputs = random_inputs(model, 10 * seed + repeat)
            own = (outputs[1], outputs[2]) if kind == "picture" else (outputs[0], outputs[3])
            pointers = (ctypes.c_void_p(array.ctypes.data) for array in (*weights, inputs[kind], *own, arena))
            library[f"two_run_{kind}"](*pointers)
            expected = list(run_onnxruntime(model, inputs).values())
            for i, found in enumerate(outputs):
                if any(found is array for array in own):
                    assert difference(found, expected[i]) < 1e-5


def test_inputs_that_meet():
    b = Builder()
    b.node("Add", "x", "y")
    model = b.model({"x": (1, 3, 4, 4), "y": (1, 3, 4, 4)}, ["add0"])
    with pytest.raises(CompileError, match="reads x and y; networks that run apart have one input each"):
        compile_onnx(model, apart=True)
