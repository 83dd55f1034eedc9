"""float16 networks at random: each operation rounds as reference.py says, whole networks stay near it, threads change no bit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shufflenet.compiler import CompiledNetwork
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.graph.ir import Convolution, Graph, Operation, Pool, Port
from shufflenet.compiler.graph.reference import Arrays, compute, interpret
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.blocking import PRODUCT_INNER
from shufflenet.compiler.plan.machines import USUAL
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.compiler.simplify.halve import halve

from ..memory import check_memory
from ..native import load_native, run_sanitized, run_with_half_arithmetic
from ..networks import OPSETS, difference, random_inputs, random_network, random_networks

SLOW = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
BATCH = 8
CONVERSIONS = {
    "16 lanes, AVX-512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mfma", "-Wno-psabi"],
    "8 lanes, F16C": ["-DLANES=8", "-mavx2", "-mfma", "-mf16c"],
    "4 lanes": ["-DLANES=4", "-mavx2", "-mfma"],
    "scalar": ["-DLANES=1", "-mfma"],
}
ULP = 2.0**-10
# A strip of a few rows at a time, however small the planes; and each step in as many tasks as can be.
STRIPS = replace(USUAL, unit_bytes=0, strip_bytes=4 << 10)
FINE = replace(STRIPS, task_ns=1e-6)


def halved(model, tensors: bool = True) -> Graph:
    return halve(simplify(read_onnx(model)), tensors=tensors)


def every_result(graph: Graph) -> Graph:
    """The graph with each operation's result as an output, so that no two operations become one step."""
    return replace(graph, outputs=tuple(Port(o.name, o.output, (1, *graph.shape(o.output))) for o in graph.operations))


def more_roundings(operation: Operation, graph: Graph, memory: Arrays) -> float:
    """How far an operation may be off, beside the last rounding: what graph/reference.py says of halves, and errors of float32."""
    exact = compute(
        replace(operation, activation=None) if hasattr(operation, "activation") else operation, graph, memory
    )
    largest = np.abs(exact).max(initial=1e-3)
    if isinstance(operation, Convolution):
        inner = graph.constants[operation.weight][0].size
        return largest * (2e-5 + (-(-inner // PRODUCT_INNER) - 1) * ULP / 2)
    ninth = isinstance(operation, Pool) and operation.counts_padding and operation.kernel == (3, 3)
    return largest * (2e-5 + ninth * ULP / 4)


def check_each_operation(graph: Graph, inputs: dict[str, np.ndarray], found: list[np.ndarray]) -> None:
    """Each result is what reference.py makes of the results before it."""
    memory = {name: np.full(tensor.shape, np.nan, tensor.element.dtype) for name, tensor in graph.tensors.items()}
    for port in graph.inputs:
        memory[port.view.tensor][...] = inputs[port.name].reshape(graph.shape(port.view))
    for operation, value in zip(graph.operations, found, strict=True):
        exact = compute(operation, graph, memory)
        value = value.reshape(exact.shape)
        rounded = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64) / 2
        assert np.isfinite(value).all(), operation.name
        beyond = (np.abs(value - exact) - rounded).max(initial=0)
        assert beyond <= more_roundings(operation, graph, memory), (
            f"{type(operation).__name__} {operation.name}: {beyond}"
        )
        memory[operation.output.tensor][list(operation.output.planes)] = value


def listed(outputs: np.ndarray | tuple[np.ndarray, ...]) -> list[np.ndarray]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def near(found: list[np.ndarray], graph: Graph, inputs: dict[str, np.ndarray], tolerance: float) -> None:
    for value, (name, expected) in zip(found, interpret(graph, inputs).items(), strict=True):
        assert difference(value.reshape(-1), expected.reshape(-1)) <= tolerance, name


@pytest.mark.parametrize("width", CONVERSIONS)
def test_each_operation_rounds_as_the_reference_does(width, tmp_path):
    number = list(CONVERSIONS).index(width)
    model, _ = random_networks(range(5000 + number * BATCH, 5000 + (number + 1) * BATCH), OPSETS[number])
    graph, inputs = every_result(halved(model)), random_inputs(model, number)
    source = emit(make_plan(graph), "net", title="A test", version="0", embed=False)
    found = load_native(source, tmp_path, "-O1", *CONVERSIONS[width])(*inputs.values())
    check_each_operation(graph, inputs, listed(found))


def check_network(data: st.DataObject, folder) -> None:
    """A network at random as it is compiled, strips and stems and all, in memory that is exactly as large as promised."""
    seed, tensors = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([True, True, False]))
    model = random_network(lambda options: data.draw(st.sampled_from(options)), seed)
    graph, inputs = halved(model, tensors), random_inputs(model, seed)
    plan = make_plan(graph, data.draw(st.sampled_from([USUAL, STRIPS])))
    check_memory(graph, plan)
    source = emit(plan, "net", title="A test", version="0", embed=data.draw(st.booleans()))
    flags = CONVERSIONS[data.draw(st.sampled_from(list(CONVERSIONS)))]
    near(run_sanitized(source, plan, inputs, folder, "-O1", *flags), graph, inputs, 8 * ULP if tensors else 1e-4)


@given(data=st.data())
@settings(SLOW, max_examples=4)
def test_random_networks_compute_what_the_reference_does(data, tmp_path_factory):
    check_network(data, tmp_path_factory.mktemp("halves"))


@pytest.mark.long
@given(data=st.data())
@settings(SLOW, max_examples=20)
def test_many_random_networks_compute_what_the_reference_does(data, tmp_path_factory):
    check_network(data, tmp_path_factory.mktemp("halves"))


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed")
def test_arithmetic_in_halves_stays_near_the_reference(tmp_path):
    model, _ = random_networks(range(6000, 6000 + BATCH))
    graph, inputs = halved(model), random_inputs(model)
    plan = make_plan(graph)
    source = emit(plan, "net", title="A test", version="0")
    near(run_with_half_arithmetic(source, plan, inputs, tmp_path), graph, inputs, 24 * ULP)


@pytest.mark.parametrize("tensors", [True, False])
def test_any_number_of_threads_gives_the_same_bits(tensors, tmp_path):
    """With every step that can be dealt in as many tasks as there can be, and units in strips."""
    model, _ = random_networks(range(7000, 7000 + BATCH))
    graph, inputs = halved(model, tensors), random_inputs(model)
    plan = make_plan(graph, FINE)
    assert sum(step.tasks is not None for step in plan.steps) >= 2 * BATCH
    alone = load_native(emit(plan, "net", title="A test", version="0"), tmp_path, "-O1", "-march=native")
    expected = listed(alone(*inputs.values()))
    near(expected, graph, inputs, 8 * ULP if tensors else 1e-4)
    for threads in (1, 2, 3, 4, 7, 16):
        found = listed(CompiledNetwork(alone.library, alone.signature, threads)(*inputs.values()))
        for one, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.view(np.int32), right.view(np.int32))
