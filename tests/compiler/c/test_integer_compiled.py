"""QDQ networks as C: the very codes of reference.py, whatever the vectors' width; sanitizers; memory step by step."""

import random

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shufflenet import nets
from shufflenet.compiler import compile_onnx
from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.c.source import Pixels
from shufflenet.compiler.graph.integers import holds_codes
from shufflenet.compiler.graph.ir import Convolution, Dequantize, Graph
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from ..memory import check_memory
from ..native import load_native, run_sanitized
from ..networks import difference, random_inputs, random_network
from ..qdq_networks import qdq_network
from ..quantized import FORMS, pictures, quantized
from ..simplify.test_quantize import node, qdq

SIZE = (45, 51)
SLOW = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
WIDTHS = {
    "scalar": ["-DLANES=1"],
    "SSE2": ["-march=x86-64"],
    "SSSE3": ["-march=x86-64-v2"],
    "AVX2": ["-march=x86-64-v3"],
    "native": ["-march=native"],
}


def all_codes(graph: Graph) -> bool:
    """Whether every number but the results is a code: then C and reference.py agree to the bit."""
    last = (Convolution, Dequantize)
    return all(
        holds_codes(graph, o.output) or (isinstance(o, last) and holds_codes(graph, o.input)) for o in graph.operations
    )


def check(graph: Graph, inputs: dict[str, np.ndarray], folder, *flags: str) -> None:
    source = emit(make_plan(graph), "net", title="A test", version="0")
    found = load_native(source, folder, "-O1", *flags)(*inputs.values())
    for value, expected in zip(
        found if isinstance(found, tuple) else (found,), interpret(graph, inputs).values(), strict=True
    ):
        if all_codes(graph):
            np.testing.assert_allclose(value.reshape(-1), expected.reshape(-1), rtol=3e-7, atol=0)
        else:
            assert difference(value.reshape(-1), expected.reshape(-1)) < 0.03


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> dict[str, Graph]:
    found = {}
    for name in ("shufflenet_x0_25_g3", "shufflenet_x0_25_g8", "shufflenet_x0_5_g3_se", "mobilenet_x0_25"):
        torch.manual_seed(0)
        net = nets.create(name, num_classes=100).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.0)
                torch.nn.init.normal_(module.bias, 0.0, 0.2)
        model = to_onnx(Exportable(net, SIZE))
        found[name] = simplify(read_onnx(quantized(model, pictures(model, 3), tmp_path_factory.mktemp("int8"))))
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_whole_networks_give_the_codes_of_the_reference(graphs, width, tmp_path):
    graph = graphs["shufflenet_x0_25_g3"]
    assert all_codes(graph)
    check(
        graph,
        {graph.inputs[0].name: np.random.default_rng(7).standard_normal((1, 3, *SIZE)).astype(np.float32)},
        tmp_path,
        *WIDTHS[width],
    )


@pytest.mark.parametrize("name", ["shufflenet_x0_25_g8", "shufflenet_x0_5_g3_se", "mobilenet_x0_25"])
def test_other_networks_too(graphs, name, tmp_path):
    graph = graphs[name]
    inputs = {graph.inputs[0].name: np.random.default_rng(8).standard_normal((1, 3, *SIZE)).astype(np.float32)}
    check(graph, inputs, tmp_path, "-march=native")


@pytest.mark.parametrize(
    ("size", "kernel", "width"),
    [
        ((9, 35), 1, "native"),
        ((17, 6), 3, "native"),
        ((3, 3), 1, "AVX2"),
        ((9, 35), 1, "SSSE3"),
        ((17, 6), 3, "scalar"),
    ],
)
def test_the_largest_and_the_repeated_stay_codes_and_the_last_sums_become_numbers(size, kernel, width, tmp_path):
    random = np.random.default_rng(0)
    weight = random.integers(-128, 128, (22, 5, kernel, kernel)).astype(np.int8)
    constants = {
        "xs": np.float32(0.02).reshape(()), "xz": np.array(131, np.uint8), "w": weight, "s": np.linspace(0.01, 0.02, 22, dtype=np.float32),
        "b": random.integers(-9000, 9000, 22).astype(np.int32), "factors": np.array((1, 1, 2, 2), np.float32),
    }  # fmt: skip
    constants["bs"] = constants["xs"] * constants["s"]
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("MaxPool", "xd", "m", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Resize", "m  factors", "r", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("DequantizeLinear", "w s", "wd", axis=0),
        node("DequantizeLinear", "b bs", "bd", axis=0),
        node("Conv", "r wd bd", "y", pads=[kernel // 2] * 4),
    ]  # fmt: skip
    nodes[3].input[:] = ["m", "", "factors"]
    graph = simplify(read_onnx(qdq(nodes, constants, (1, 5, *size))))
    assert all_codes(graph)
    assert not any(isinstance(o, Dequantize) for o in graph.operations)
    inputs = {"x": random.standard_normal((1, 5, *size)).astype(np.float32)}
    check(graph, inputs, tmp_path, *WIDTHS[width])
    if width in ("scalar", "native"):
        planned = make_plan(graph)
        source = emit(planned, "net", title="", version="")
        (found,) = run_sanitized(source, planned, inputs, tmp_path, "-O1", *WIDTHS[width])
        (expected,) = interpret(graph, inputs).values()
        np.testing.assert_allclose(found.reshape(-1), expected.reshape(-1), rtol=3e-7)


def test_a_file_is_compiled_as_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path / "cache"))
    model = random_network(random.Random(3).choice, 3)
    int8 = quantized(model, pictures(model, 2), tmp_path)
    (inputs,) = pictures(model, 1, first=50)
    found = compile_onnx(int8).load()(*inputs.values())
    expected = next(iter(interpret(simplify(read_onnx(int8)), inputs).values()))
    found = found[0] if isinstance(found, tuple) else found
    assert difference(found.reshape(-1), expected.reshape(-1)) < 0.03


def random_int8(seed: int, folder) -> tuple[onnx.ModelProto, Graph]:
    model = random_network(random.Random(seed).choice, seed)
    int8 = quantized(model, pictures(model, 2), folder, list(FORMS)[seed % len(FORMS)])
    return int8, simplify(read_onnx(int8))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_compute_what_the_reference_does(seed, tmp_path):
    model, graph = random_int8(seed, tmp_path)
    check_memory(graph, make_plan(graph))
    check(graph, pictures(model, 1, first=50)[0], tmp_path, *list(WIDTHS.values())[seed % len(WIDTHS)])


def check_bytes(data: st.DataObject, folder, widths) -> None:
    """A QDQ network at random, as C that may touch no byte beyond what was promised, and again as it is compiled for a machine."""
    model = qdq_network(lambda options: data.draw(st.sampled_from(options)), data.draw(st.integers(0, 10**6)))
    graph = simplify(read_onnx(model))
    plan = make_plan(graph)
    reach = data.draw(st.sampled_from([1, 1, 20]))
    inputs = {name: reach * numbers for name, numbers in random_inputs(model, 1).items()}
    expected = next(iter(interpret(graph, inputs).values()))
    source = emit(plan, "net", title="A test", version="0")
    (found,) = run_sanitized(source, plan, inputs, folder, "-O1", *data.draw(st.sampled_from(widths)))
    np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1))
    found = load_native(source, folder, "-O1", *data.draw(st.sampled_from(widths)))(*inputs.values())
    np.testing.assert_array_equal(np.asarray(found).reshape(-1), expected.reshape(-1))


@given(data=st.data())
@settings(SLOW, max_examples=3)
def test_random_qdq_networks_give_the_bytes_of_the_reference(data, tmp_path_factory):
    check_bytes(data, tmp_path_factory.mktemp("qdq"), [WIDTHS["native"], WIDTHS["scalar"]])


@pytest.mark.long
@given(data=st.data())
@settings(SLOW, max_examples=60)
def test_many_random_qdq_networks_give_the_bytes_of_the_reference(data, tmp_path_factory):
    check_bytes(data, tmp_path_factory.mktemp("qdq"), list(WIDTHS.values()))


@pytest.mark.parametrize(
    ("name", "lanes"),
    [
        ("shufflenet_x0_25_g3", "-DLANES=1"),
        ("shufflenet_x0_25_g3", "-march=native"),
        ("shufflenet_x0_5_g3_se", "-march=native"),
    ],
)
def test_no_byte_beyond_what_was_promised_is_touched(graphs, name, lanes, tmp_path):
    graph = graphs[name]
    planned = make_plan(graph)
    inputs = {graph.inputs[0].name: np.random.default_rng(7).standard_normal((1, 3, *SIZE)).astype(np.float32)}
    (found,) = run_sanitized(emit(planned, "net", title="A test", version="0"), planned, inputs, tmp_path, "-O1", lanes)
    (expected,) = interpret(graph, inputs).values()
    np.testing.assert_allclose(found.reshape(-1), expected.reshape(-1), rtol=3e-7)


def test_pixels_become_codes_without_floats(graphs, tmp_path):
    graph = graphs["shufflenet_x0_25_g3"]
    pixels = Pixels(order=(2, 1, 0), scale=(1 / 64, 1 / 32, 1 / 128), shift=(-1.0, -2.0, 0.5))
    network = load_native(
        emit(make_plan(graph), "net", title="", version="", pixels=pixels), tmp_path, "-O1", "-march=native"
    )
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    planes = (picture[:, :, pixels.order] * np.float32(pixels.scale) + np.float32(pixels.shift)).transpose(2, 0, 1)
    np.testing.assert_array_equal(network.run_rgb8(picture), network(np.ascontiguousarray(planes, np.float32)))


def test_the_arena_is_within_a_tenth_of_the_bound_at_the_papers_size(tmp_path):
    torch.manual_seed(0)
    model = to_onnx(Exportable(nets.create("shufflenet_x0_5_g3").eval(), (224, 224)))
    planned = make_plan(simplify(read_onnx(quantized(model, pictures(model, 1), tmp_path))))
    assert planned.arena_bytes <= 1.1 * planned.bound_bytes
    whole = make_plan(simplify(read_onnx(model)))
    header = emit(planned, "net", title="A test", version="0").c.partition("*/")[0]
    assert f"Quantized: {len(planned.steps)} of {len(planned.steps)} steps work on codes of 8 bits" in header
    assert planned.weights.nbytes < 0.3 * whole.weights.nbytes
