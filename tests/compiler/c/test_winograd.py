"""Winograd's convolution: its matrices exactly, its kernels against the interpreter, whole networks against ONNX Runtime."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import pytest

from shufflenet.compiler import compile_onnx
from shufflenet.compiler.graph.ir import RELU, Activation, Graph
from shufflenet.compiler.graph.reference import interpret
from shufflenet.compiler.plan import lowering, make_plan, winograd
from shufflenet.compiler.plan.steps import PanelProduct, Plan, WinogradProduct
from shufflenet.compiler.plan.winograd import TRANSFORMS, Transform, choose_transform, largest_input

from ..kernels import WIDTHS, Net, check_writes, run
from ..kernels import random_inputs as inputs_of
from ..native import load_native, run_sanitized
from ..networks import Builder, difference, random_inputs, run_onnxruntime


def winograd_steps(plan: Plan) -> list[WinogradProduct]:
    return [step for step in plan.steps if isinstance(step, WinogradProduct)]


def always(monkeypatch: pytest.MonkeyPatch, outputs: tuple[int, ...] = (4, 2)) -> None:
    """Winograd wherever there is a transform, with the outputs in turn, and chunks of a few tiles."""
    calls = iter(range(10_000))

    def choose(weight: np.ndarray, groups: int, size: tuple[int, int]) -> Transform | None:
        transform = Transform(outputs[next(calls) % len(outputs)], weight.shape[2])
        return transform if transform in TRANSFORMS and weight.shape[2] == weight.shape[3] else None

    monkeypatch.setattr(lowering, "choose_transform", choose)
    monkeypatch.setattr(winograd, "TILE_BYTES", 0)
    monkeypatch.setattr(winograd, "FEWEST_TILES", 12)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
class TestMatrices:
    def test_the_products_are_a_convolution(self, transform):
        """A · (G w ⊙ B x), in fractions, for each unit vector x and w: it is linear in both."""
        a, b, g = transform.output_matrix, transform.input_matrix, transform.weight_matrix
        for i in range(transform.size):
            for k in range(transform.kernel):
                products = [row_b[i] * row_g[k] for row_b, row_g in zip(b, g, strict=True)]
                found = [sum(x * y for x, y in zip(row, products, strict=True)) for row in a]
                assert found == [Fraction(i == output + k) for output in range(transform.output)]

    def test_what_the_kernels_multiply_by_is_exact_in_float32(self, transform):
        for matrix in (transform.input_matrix, transform.output_matrix):
            assert all(Fraction(float(np.float32(value))) == value for row in matrix for value in row)


class TestChoice:
    def weight(self, *shape: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    @pytest.mark.parametrize(
        ("shape", "size", "expected"),
        [
            ((384, 192, 3, 3), (13, 13), Transform(4, 3)),  # AlexNet's
            ((192, 64, 5, 5), (27, 27), Transform(4, 5)),
            ((512, 512, 3, 3), (7, 7), Transform(2, 3)),  # 4 × 4 tiles of 2 × 2 are a vector, 2 × 2 of 4 × 4 are not
            ((64, 3, 3, 3), (112, 112), None),  # transforms would cost more than products
            ((64, 64, 1, 3), (56, 56), None),
            ((64, 64, 7, 7), (56, 56), None),
        ],
    )
    def test_it_is_the_fastest(self, shape, size, expected):
        assert choose_transform(self.weight(*shape), 1, size) == expected

    def test_groups_must_be_large_enough(self):
        assert choose_transform(self.weight(128, 64, 3, 3), 2, (28, 28))
        assert not choose_transform(self.weight(128, 4, 3, 3), 32, (28, 28))

    @pytest.mark.parametrize("special", [np.nan, np.inf, 1e30])
    def test_weights_must_be_ordinary(self, special):
        weight = self.weight(64, 64, 3, 3)
        weight[1, 2, 0, 1] = special
        assert not choose_transform(weight, 1, (28, 28))

    def test_windows_must_be_dense(self):
        net = Net()
        x = net.input(32, 30, 30)
        net.convolution(x, 32, (3, 3))
        net.convolution(x, 32, (3, 3), stride=(2, 2))
        net.convolution(x, 32, (3, 3), dilation=(2, 2))
        assert [type(step) for step in make_plan(net.graph).steps[1:]] == [WinogradProduct, PanelProduct, PanelProduct]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_numbers_of_any_allowed_size_do_not_overflow(transform):
    """The worst input for the weights: each number as large as may be, with every sign."""
    random = np.random.default_rng(0)
    moved = transform.weights(random.standard_normal((3, 20, transform.kernel, transform.kernel)))
    b, a = (np.array(matrix).astype(np.float64) for matrix in (transform.input_matrix, transform.output_matrix))
    signs = np.sign(random.standard_normal((50, 20, transform.size, transform.size)))
    tiles = b @ (largest_input(transform, moved) * signs) @ b.T
    products = np.einsum("poc,ncp->nop", moved, tiles.reshape(50, 20, -1)).reshape(
        50, 3, transform.size, transform.size
    )
    for numbers in (tiles, products, a @ products @ a.T):
        assert np.abs(numbers).max() < np.finfo(np.float32).max


def rounding_error(transform: Transform, channels: int = 512) -> float:
    """Of tiles of random numbers, computed in float32; relative to the largest output."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, channels, transform.kernel, transform.kernel))
    tiles = random.standard_normal((40, channels, transform.size, transform.size))

    def outputs(dtype: type) -> np.ndarray:
        b, a, g = (
            np.array(matrix).astype(float).astype(dtype)
            for matrix in (transform.input_matrix, transform.output_matrix, transform.weight_matrix)
        )
        moved = np.einsum("xi,ocij,yj->ocxy", g.astype(float), weight.astype(np.float32), g.astype(float)).astype(dtype)
        products = np.einsum("ocxy,ncxy->noxy", moved, b @ tiles.astype(np.float32).astype(dtype) @ b.T)
        return a @ products @ a.T

    return difference(outputs(np.float32), outputs(np.float64))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_little_is_lost_by_rounding(transform):
    """Of the 1e-4 that the compiler's numbers may be off: a tenth for 3×3, a third for 5×5."""
    error = rounding_error(transform)
    print(f"{error:.1e}")
    assert error <= {3: 1e-5, 5: 3.3e-5}[transform.kernel]


def test_the_usual_points_lose_more(monkeypatch):
    error = rounding_error(Transform(4, 3))
    monkeypatch.setitem(winograd._POINTS, 4, (Fraction(1), Fraction(2)))
    usual = rounding_error(Transform(4, 3))
    print(f"{usual:.1e}")
    assert usual > 2 * error


def convolutions() -> Graph:
    """3×3 and 5×5, one chunk and several, tails of every kind, all paddings, residuals in their place and apart, groups."""
    net = Net()
    for height, width in ((19, 13), (10, 35), (2, 2), (1, 6)):
        x = net.input(6, height, width)
        for k, activation in ((3, RELU), (5, None)):
            y = net.convolution(x, 10, (k, k), padding=(k // 2,) * 4, activation=activation)
            net.convolution(y, 10, (k, k), padding=(k // 2,) * 4, addend=y, activation=Activation("leaky_relu", 0.1))
            net.convolution(
                x, 6, (k, k), groups=2, padding=(k - 1, 0, 1, k), activation=Activation("clip", -100.0, 2.0)
            )
            if min(height, width) >= k:
                net.convolution(x, 7, (k, k))
                net.convolution(x, 7, (k, k), padding=(0, k, k, 0))
    wide = net.input(150, 6, 5)  # parts of inner, blocks of rows
    for _ in range(2):
        net.convolution(wide, 100, (3, 3), padding=(1, 1, 1, 1))
    net.convolution(wide, 98, (3, 3), groups=2, padding=(1, 1, 1, 1), activation=RELU)

    kept = len(net.graph.outputs)
    y = net.convolution(net.input(8, 9, 14), 8)  # which the last sum is written over, as no output keeps it
    z = net.convolution(y, 8, (3, 3), padding=(1, 1, 1, 1), activation=RELU)
    net.convolution(z, 8, (3, 3), padding=(1, 1, 1, 1), addend=y, activation=RELU)
    outputs = net.graph.outputs[:kept] + net.graph.outputs[-1:]
    net.graph = replace(net.graph, outputs=outputs)
    return net.graph


# The other order of tiles at one width alone: what a width changes shows in the first.
@pytest.mark.parametrize(("outputs", "width"), [*(((4, 2), width) for width in WIDTHS), ((2, 4), "8 lanes")], ids=str)
def test_kernels_compute_what_the_interpreter_does(outputs, width, tmp_path, monkeypatch):
    always(monkeypatch, outputs)
    graph = convolutions()
    steps = winograd_steps(make_plan(graph))
    assert {len(step.tile_chunks) for step in steps} == {1, 2}
    assert {step.transform for step in steps} == set(TRANSFORMS)
    assert steps[-1].addend
    assert steps[-1].addend.offset == steps[-1].output.offset
    inputs = inputs_of(graph)
    expected = interpret(graph, inputs)
    for name, value in run(graph, tmp_path, WIDTHS[width], inputs).items():
        assert difference(value, expected[name]) <= 1e-5, name


@pytest.mark.parametrize("flags", [WIDTHS["scalar"], WIDTHS["8 lanes"]], ids=["scalar", "8 lanes"])
def test_numbers_that_are_none_or_huge_come_out_where_the_interpreter_has_them(flags, tmp_path, monkeypatch):
    always(monkeypatch)
    graph = convolutions()
    inputs = inputs_of(graph)
    for number, value in enumerate(inputs.values()):
        value.flat[value.size // 3] = (np.nan, np.inf, -np.inf, 1e36)[number % 4]
    expected = interpret(graph, inputs)
    for name, value in run(graph, tmp_path, flags, inputs).items():
        np.testing.assert_array_equal(np.isnan(value), np.isnan(expected[name]), err_msg=name)
        np.testing.assert_array_equal(np.isposinf(value), np.isposinf(expected[name]), err_msg=name)
        np.testing.assert_array_equal(np.isneginf(value), np.isneginf(expected[name]), err_msg=name)
        ordinary = np.abs(expected[name]) < 1e6
        np.testing.assert_allclose(value[ordinary], expected[name][ordinary], rtol=1e-4, atol=1e-3, err_msg=name)


def dense_networks(seed: int, count: int = 8) -> onnx.ModelProto:
    """Networks of two convolutions and a residual, with all that Winograd's takes drawn."""
    builder, draw = Builder(seed), random.Random(seed)
    inputs, outputs = {}, []
    for number in range(count):
        kernel, groups = draw.choice((3, 5)), draw.choice((1, 1, 2))
        channels, hidden = (groups * draw.randrange(1, 11) for _ in range(2))
        height, width = draw.randrange(kernel, 40), draw.randrange(kernel, 40)
        inputs[f"x{number}"] = (1, channels, height, width)
        pads = [draw.randrange(kernel) for _ in range(4)]
        back = [kernel - 1 - pad for pad in pads]  # to the size of the input
        weights = [builder.weights(hidden, channels // groups, kernel, kernel), builder.weights(hidden)]
        y = builder.node("Relu", builder.node("Conv", f"x{number}", *weights, group=groups, pads=pads))
        y = builder.node(
            "Conv", y, builder.weights(channels, hidden // groups, kernel, kernel), group=groups, pads=back
        )
        outputs.append(builder.node(draw.choice(("Relu", "HardSigmoid")), builder.node("Add", y, f"x{number}")))
    return builder.model(inputs, outputs)


@pytest.mark.parametrize("seed", range(5))
def test_random_networks_agree_with_onnxruntime(seed, tmp_path, monkeypatch):
    always(monkeypatch)
    lanes = ("", "-DLANES=1", "-DLANES=4", "-DLANES=8", "-DLANES=16")[seed]
    model = dense_networks(seed)
    inputs = random_inputs(model, seed)
    compiled = compile_onnx(model, embed=False)
    assert len(winograd_steps(compiled.plan)) > 10
    network = load_native(compiled.source, tmp_path, "-O1", "-march=native", *lanes.split())
    expected = run_onnxruntime(model, inputs)
    for (name, array), output in zip(expected.items(), network(*inputs.values()), strict=True):
        assert difference(output[None], array) <= 1e-5, name


def test_nothing_is_written_beside_tensors(tmp_path, monkeypatch):
    always(monkeypatch)
    check_writes(convolutions(), tmp_path, monkeypatch)


@pytest.mark.parametrize("lanes", ["-DLANES=1", "-DLANES=16"])
def test_no_byte_beyond_what_was_promised_is_touched(lanes, tmp_path, monkeypatch):
    always(monkeypatch)
    model = dense_networks(len(lanes), 4)
    inputs = random_inputs(model)
    compiled = compile_onnx(model, embed=False)
    outputs = run_sanitized(compiled.source, compiled.plan, inputs, tmp_path, "-O0", "-march=native", lanes)
    for (name, array), output in zip(run_onnxruntime(model, inputs).items(), outputs, strict=True):
        assert difference(output, array) <= 1e-5, name
