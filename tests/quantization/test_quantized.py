"""Networks of integers: what they compute against ONNX Runtime and against index arithmetic, their folders, and what is refused."""

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import shufflenet
from shufflenet.checkpoints import Preprocessing
from shufflenet.data import open_dataset
from shufflenet.deploy.export import export
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import LARGEST_INTEGER_DIFFERENCE, compare, sample_inputs, untrained
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import VariantError, create
from shufflenet.nets.codes import IntegerRun
from shufflenet.nets.integers import IntegerLayer, LearningLayer, fake_quantize
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.quantization import CALIBRATIONS, Method, calibrated, fine_tune, layer_noise
from shufflenet.quantization.aware import aware_recipe
from shufflenet.quantization.calibration import BINS, Seen, byte_range
from shufflenet.quantization.post_training import CalibrationInputs

SHIPPED = "fashion-mnist/shufflenet_x0_25_g8"


@pytest.fixture(scope="module")
def pictures():
    return open_dataset("fashion-mnist-7k", "train")


@pytest.fixture(scope="module")
def net():
    return shufflenet.load(SHIPPED)


@pytest.fixture(scope="module")
def learning(net, pictures):
    return calibrated(net, pictures, Method(pictures=64))


@pytest.fixture(scope="module")
def inputs(net, pictures):
    return next(iter(CalibrationInputs(pictures, net, 32, seed=1)))


def logits(net, x):
    with torch.inference_mode():
        return net(x).numpy()


def as_it_stands(model, x):
    """ONNX Runtime's logits, nothing fused: what is fused has roundings of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options).run(None, {"input": x})[0]


@given(
    st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=1, max_size=20),
    st.floats(2.0**-10, 2.0**10, width=32),
    st.integers(0, 255),
    st.booleans(),
)
def test_rounding_is_onnx_s(values, scale, zero_point, signed):
    low, high = (-128, 127) if signed else (0, 255)
    zero_point += low
    x, s = np.array(values, np.float32), np.float32(scale)
    codes = np.clip(np.rint(x / s) + zero_point, low, high)
    expected = (codes - zero_point).astype(np.float32) * s
    found = fake_quantize(torch.from_numpy(x), torch.tensor(s), torch.tensor(zero_point, dtype=torch.int32), low, high)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_gradient_passes_straight_through_within_the_range():
    x = torch.tensor([-1.0, -0.4, 0.3, 25.4, 26.0], requires_grad=True)
    fake_quantize(x, torch.tensor(0.1), torch.tensor(2, dtype=torch.int32), 0, 255).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 0, 0]  # 0.1 · (0 − 2) to 0.1 · (255 − 2)


@pytest.mark.parametrize(
    "name", ["shufflenet_x1_0_g8", "resnext_like_38m", "mobilenet_x0_25", "googlenet", "alexnet", "vgg16"]
)
def test_a_network_has_integers_in_every_layer(name):
    with torch.device("meta"):
        net = create(name)
        quantized = QuantizedNetwork(net, learning=False)
    layers = [n for n, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(quantized.layers()) == len(layers)
    assert all(isinstance(layer, IntegerLayer) for layer in quantized.layers().values())


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("shufflenet_x0_25_g3", "u8"),
        ("shufflenet_x0_25_g3_se", "s8"),
        ("pvanet", "u8"),
    ],
)
def test_onnx_runtime_says_the_same_of_the_exported_file(name, activations, pictures):
    net = untrained(name, (64, 64))
    net.metadata = shufflenet.checkpoints.Metadata(Preprocessing((64, 64), short_side=None))
    quantized = shufflenet.quantize(net, pictures, activations=activations, pictures=16)
    source = Exportable(quantized, (64, 64))
    model = to_onnx(source)
    onnx.checker.check_model(model, full_check=True)
    x = next(iter(CalibrationInputs(pictures, net, 8, seed=1)))
    found = as_it_stands(model.SerializeToString(), x.numpy())
    ours, before = logits(quantized.in_real_numbers, x), logits(net, x)
    # Sums in another order tip a few ties; what rounding itself costs is many times that.
    assert np.abs(found - ours).mean() < 0.25 * np.abs(before - ours).mean() + 1e-6
    types = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= types
    assert "BatchNormalization" not in types


def test_weights_in_the_file_are_integers(learning):
    model = to_onnx(Exportable(learning.integers(), (28, 28)))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    made = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weight, bias = (kinds[made[name]] for name in node.input[1:])
            assert weight == onnx.TensorProto.INT8
            assert bias == onnx.TensorProto.INT32


def first_codes_apart(real, integers, x, quantizer) -> float:
    """The share of a quantizer's codes that differ."""
    codes = {}
    hook = (
        real.get_submodule("quantizers")
        .get_submodule(quantizer)
        .register_forward_hook(lambda module, inputs, output: codes.setdefault("real", output / module.scale))
    )
    logits(real, x)
    hook.remove()

    class Watched(IntegerRun):
        def run_node(self, n):
            made = super().run_node(n)
            if n.target == f"quantizers.{quantizer}":
                codes.setdefault("whole", made.centred)
            return made

    Watched(integers.net).run(x)
    return float((codes["real"].round() != codes["whole"]).float().mean())


def test_what_learns_rounds_where_the_integers_round(learning, net, inputs):
    integers = learning.integers()
    exact, learned, filed = (logits(n, inputs) for n in (integers, learning, integers.in_real_numbers))
    assert 0 < np.abs(learned - exact).mean() < 0.9 * np.abs(filed - exact).mean()
    # The first residual sum, where nothing has piled up yet: the integers' factor for the residual has few bits.
    learned, filed = (
        first_codes_apart(n, integers, inputs, "relu_3") for n in (learning.net, integers.in_real_numbers)
    )
    assert learned < 0.02
    assert filed > 5 * learned
    for layer in integers.layers().values():
        assert layer.weight.dtype is torch.int8
        assert layer.bias.dtype is torch.int32


def test_a_folder_gives_back_the_same_network(learning, inputs, tmp_path):
    folder = shufflenet.save(learning, tmp_path / "int8")
    again = shufflenet.load(folder)
    assert isinstance(again, QuantizedNetwork)
    assert again.metadata == learning.metadata
    np.testing.assert_array_equal(logits(again, inputs), logits(learning.integers(), inputs))
    float_bytes = (shufflenet.save(shufflenet.load(SHIPPED), tmp_path / "float") / "model.safetensors").stat().st_size
    assert (folder / "model.safetensors").stat().st_size < 0.5 * float_bytes  # names and scales weigh something, too
    assert (
        shufflenet.cost(again, (28, 28)).multiply_adds
        == shufflenet.cost(shufflenet.load(SHIPPED), (28, 28)).multiply_adds
    )
    with pytest.raises(UserError, match="int8 already"):
        shufflenet.save(again, tmp_path / "half", dtype="float16")
    config = json.loads((folder / "config.json").read_text())
    config["quantization"]["activations"] = "u4"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no element type 'u4'"):
        shufflenet.load(folder)


def test_the_float_twin_has_the_rounded_weights(learning, net, inputs):
    twin = learning.dequantized()
    assert twin.spec == net.spec
    before, after, rounded = (logits(n, inputs) for n in (net, twin, learning))
    assert 0 < np.abs(after - before).max() < 0.2 * np.abs(before).max()
    assert np.abs(after - rounded).max() < 0.3 * np.abs(before).max()


def test_a_silenced_channel_keeps_its_bias():
    layer = nn.Conv2d(2, 2, 1)
    layer.weight.data[:] = torch.tensor([[[[1e-12]], [[0.0]]], [[[0.5]], [[-1.0]]]])
    layer.bias.data[:] = torch.tensor([3.0, -2.0])
    learning = LearningLayer(layer)
    learning.input_scale.fill_(0.01)
    held = learning.integers()
    np.testing.assert_allclose(held["bias"] * held["bias_scale"], [3.0, -2.0], rtol=1e-4)
    assert held["weight"].flatten(1).tolist() == [[0, 0], [64, -127]]


def test_pieces_of_a_concatenation_have_one_scale_and_relu_starts_at_zero(learning):
    graph = learning.net.graph
    (cat, *_) = (node for node in graph.nodes if node.target is torch.cat)
    assert len({node.target for node in (*cat.all_input_nodes, *cat.users)}) == 1
    after_relu = [q for name, q in learning.quantizers().items() if name.startswith(("relu", "cat", "stem"))]
    assert after_relu
    assert all(int(quantizer.zero_point) == 0 for quantizer in after_relu)


def test_grey_bytes_are_codes(learning, net):
    entry = next(iter(learning.quantizers().values()))
    std, mean = net.metadata.preprocessing.std[0], net.metadata.preprocessing.mean[0]
    codes = torch.round(((torch.arange(256) / 255 - mean) / std) / entry.scale) + entry.zero_point
    assert codes.tolist() == list(range(256))
    assert byte_range(Preprocessing()) == pytest.approx((-0.485 / 0.229, 0.594 / 0.225))


def test_ranges_cut_off_what_is_rare():
    counts = torch.zeros(BINS, dtype=torch.int64)
    counts[:200] = 1_000_000
    counts[-1] = 1
    seen = Seen(torch.zeros(2), torch.tensor([9.0, 100.0]), counts)
    whole, percentile, least = (CALIBRATIONS[name](seen, 255) for name in ("minmax", "percentile", "mse"))
    assert whole == (0.0, 100.0)
    assert percentile[1] == pytest.approx(200 * 100 / BINS, rel=0.01)
    assert percentile[1] <= least[1] < 100


def test_a_range_is_for_most_pictures():
    """Of 200, two that are ten times as large at one end are cut off, and three at the other are not."""
    lows, highs = -torch.ones(200), torch.ones(200)
    highs[7] = highs[91] = 10.0
    lows[3] = lows[50] = lows[120] = -10.0
    low, high = CALIBRATIONS["pictures"](Seen(lows, highs, torch.zeros(BINS)), 255)
    assert high == pytest.approx(1.0, abs=0.1)
    assert low == pytest.approx(-10.0, abs=0.1)


@torch.no_grad()
def test_one_odd_picture_does_not_take_the_codes_of_all_others(net, pictures, inputs):
    """A picture twenty times as bright among 128 that calibrate: no range is three times what it was."""
    shown = torch.cat(list(CalibrationInputs(pictures, net, 127)))
    scales = []
    for brightness in (1, 20):
        quantized = QuantizedNetwork(net).eval()
        calibrating = [torch.cat([shown, brightness * inputs[:1]])]
        Method(bias_correction=False).apply(quantized, calibrating, net.metadata.preprocessing, 0)
        scales.append(torch.stack([quantizer.scale for quantizer in quantized.quantizers().values()]))
    ratio = scales[1] / scales[0]
    assert float(ratio.min()) > 1 / 3
    assert float(ratio.max()) < 3


def test_a_layer_with_a_coarse_input_is_the_noisiest(learning, inputs):
    rough = copy.deepcopy(learning)
    rough.quantizer_before("stage3.2.expand.0").scale *= 40
    first = layer_noise(rough, [inputs])[0]
    assert first.layer == "stage3.2.expand.0"
    assert all(row.alone_db > 20 for row in layer_noise(learning, [inputs]))


def test_what_cannot_be_quantized_is_said_in_a_sentence(net, learning, pictures):
    with pytest.raises(UserError, match=r"no element type .u4. .*u8, s8"):
        shufflenet.quantize(net, pictures, activations="u4")
    with pytest.raises(UserError, match="int8 already"):
        shufflenet.quantize(learning.integers(), pictures)
    with pytest.raises(UserError, match="0 pictures to calibrate on"):
        shufflenet.quantize(net, pictures, pictures=0)
    with pytest.raises(UserError, match="0 pictures to calibrate on"):
        shufflenet.quantize(net, pictures.subset(np.arange(0)))
    with pytest.raises(UserError, match="no calibration 'guess'"):
        shufflenet.quantize(net, pictures, calibration="guess")
    with pytest.raises(VariantError, match="no element type 'f8'"):
        QuantizedNetwork(net, "f8")


def test_fine_tuning_lowers_the_loss_and_saves_integers(learning, net, pictures, tmp_path):
    few = pictures.subset(np.arange(256))
    settings = {"iterations": 8, "batch_size": 32, "warmup_iterations": 0, "workers": 0, "learning_rate": 0.02}
    recipe = aware_recipe(net, settings)
    worse = copy.deepcopy(learning)
    worse.layers()["classifier"].layer.weight.data *= 0.2
    assert recipe.augmentation.padding == 1  # the shipped network's own
    done = fine_tune(copy.deepcopy(worse), recipe, few, few, tmp_path, teacher=net)
    assert done.finished
    saved = shufflenet.load(tmp_path)
    assert isinstance(saved, QuantizedNetwork)
    before, after = (nn.functional.cross_entropy(n(x), y) for n in (worse, saved) for x, y in [_batch(few, net)])
    assert after < before


def _batch(dataset, net):
    x = torch.cat(list(CalibrationInputs(dataset, net, len(dataset))))
    return x, torch.from_numpy(dataset.labels[dataset.order(0, 0)])


@pytest.mark.parametrize("format", ["mnn", "ncnn", "torchscript"])
def test_a_format_without_integers_is_refused(format, learning, tmp_path):
    with pytest.raises(UserError, match="no network of integers as we write it; export onnx or openvino"):
        export(Exportable(learning.integers(), (28, 28)), format, tmp_path)


def test_export_takes_it_like_any_other(net, pictures, tmp_path):
    # A network of its own: other tests train the shared one on, and which sums are ties depends on it.
    source = Exportable(calibrated(net, pictures, Method(pictures=64, seed=1)).integers(), (28, 28))
    done = export(source, "onnx", tmp_path)
    assert done.parity.max_relative_difference < LARGEST_INTEGER_DIFFERENCE  # fused, a near-tie of two classes may tip
    x = sample_inputs(source, done.parity.pictures)
    parity = compare(as_it_stands(done.files[0].read_bytes(), x), source.run(x))
    assert parity.top1_agreement == 1
    assert parity.max_relative_difference < 0.01
    record = json.loads(done.record.read_text())
    assert record["quantization"] == {"activations": "u8", "weights": "s8"}
