"""Networks at random, compiled, against ONNX Runtime. Many stand side by side in one file, so that kernels are compiled once."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from shufflenet.compiler import compile_onnx
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify

from ..native import first_that_differs, load_native, run_sanitized
from ..networks import OPSETS, difference, random_inputs, random_network, random_networks, run_onnxruntime

TOLERANCE = 1e-4  # of the largest number expected
BATCH = 20
# Vectors of every width, whatever this machine's: a width that it lacks is made of those that it has.
WIDTHS = ("", "-DLANES=1", "-DLANES=4", "-DLANES=8", "-DLANES=16")


def same(outputs: list[np.ndarray], expected: dict[str, np.ndarray], names: list[list[str]]) -> list[int]:
    """The networks of a batch whose outputs are not as expected."""
    found = dict(zip([name for group in names for name in group], outputs, strict=True))
    wrong = []
    for index, group in enumerate(names):
        try:
            fine = all(difference(found[name], expected[name]) <= TOLERANCE for name in group)
        except AssertionError:
            fine = False
        if not fine:
            wrong.append(index)
    return wrong


def explain(model: onnx.ModelProto, inputs: dict[str, np.ndarray], folder) -> str:
    return first_that_differs(simplify(read_onnx(model)), inputs, folder)


# Each opset and each width once; twice by `make test-long`.
@pytest.mark.parametrize("batch", [*range(5), *(pytest.param(batch, marks=pytest.mark.long) for batch in range(5, 10))])
def test_compiled_networks_agree_with_onnxruntime(batch, tmp_path):
    seeds = range(1000 + batch * BATCH, 1000 + (batch + 1) * BATCH)
    model, names = random_networks(seeds, OPSETS[batch % len(OPSETS)])
    inputs = random_inputs(model, batch)
    compiled = compile_onnx(model, embed=False)
    flags = ["-O1", "-march=native", *WIDTHS[batch % len(WIDTHS)].split()]
    network = load_native(compiled.source, tmp_path, *flags)
    expected = run_onnxruntime(model, inputs)
    outputs = [y[None] for y in network(*inputs.values())]
    if wrong := same(outputs, expected, names):
        pytest.fail(f"seeds {[seeds[i] for i in wrong]}: {explain(model, inputs, tmp_path)}")


@pytest.mark.parametrize("batch", range(3))
def test_no_byte_beyond_what_was_promised_is_touched(batch, tmp_path):
    """Inputs, outputs, weights and the arena are exactly as large as promised, under both sanitizers."""
    seeds = range(2000 + batch * BATCH, 2000 + (batch + 1) * BATCH)
    model, names = random_networks(seeds, OPSETS[batch])
    inputs = random_inputs(model, batch)
    compiled = compile_onnx(model, embed=False)
    flags = ["-O0", "-march=native", *WIDTHS[batch].split()]
    outputs = run_sanitized(compiled.source, compiled.plan, inputs, tmp_path, *flags)
    assert not same(outputs, run_onnxruntime(model, inputs), names)


def test_numbers_that_are_none_come_out_where_the_reference_has_them(tmp_path):
    """A NaN, an infinity, in each network's input: the outputs are not finite where reference.py says so, and nowhere else."""
    from shufflenet.compiler.graph.reference import interpret

    model, _ = random_networks(range(3000, 3000 + BATCH))
    compiled = compile_onnx(model, embed=False)
    network = load_native(compiled.source, tmp_path)
    graph = simplify(read_onnx(model))
    inputs = random_inputs(model)
    draw = random.Random(0)
    for special in (np.nan, np.inf, -np.inf):
        spoiled = {name: array.copy() for name, array in inputs.items()}
        for array in spoiled.values():
            flat = array.reshape(-1)
            flat[draw.randrange(flat.size)] = special
        expected = interpret(graph, spoiled)
        for (name, array), output in zip(expected.items(), network(*spoiled.values()), strict=True):
            np.testing.assert_array_equal(np.isnan(output), np.isnan(array[0]), err_msg=f"{name}, {special}")
            np.testing.assert_array_equal(np.isposinf(output), np.isposinf(array[0]), err_msg=f"{name}, {special}")
            np.testing.assert_array_equal(np.isneginf(output), np.isneginf(array[0]), err_msg=f"{name}, {special}")


def test_eight_threads_at_once_get_the_same_bits(tmp_path):
    model = random_network(random.Random(4).choice, 4)
    compiled = compile_onnx(model, embed=False)
    network = load_native(compiled.source, tmp_path)
    many = [random_inputs(model, seed) for seed in range(8)]

    def call(inputs: dict[str, np.ndarray]) -> list[bytes]:
        outputs = network(*inputs.values())
        return [y.tobytes() for y in (outputs if isinstance(outputs, tuple) else (outputs,))]

    alone = [call(inputs) for inputs in many]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            assert list(threads.map(call, many)) == alone


def test_an_arena_full_of_nan_changes_nothing(tmp_path):
    """What a call leaves in the arena, or what was there before, is never read as a number."""
    model, _ = random_networks(range(4000, 4000 + BATCH))
    compiled = compile_onnx(model, embed=False)
    network = load_native(compiled.source, tmp_path)
    inputs = random_inputs(model)
    network(*inputs.values())
    arena = network._own.arena
    results = []
    for byte in (0x00, 0xFF, 0x7F):
        arena[:] = byte
        results.append([output.tobytes() for output in network(*inputs.values())])
    assert results[0] == results[1] == results[2]
