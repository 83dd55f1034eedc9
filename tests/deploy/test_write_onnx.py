import json
import re
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import compare, sample_inputs
from shufflenet.deploy.write_onnx import OPSET, to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import create, variants

SIZE = (64, 64)


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def difference(model, source, batch):
    result = session(model).run(None, {source.input_name: batch})[0]
    return compare(result, source.run(batch)).max_relative_difference


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


def shufflenet(units=16, shuffles=16, se=0):
    """What a ShuffleNet of so many units, three of them at stride 2, is made of."""
    return Counter(
        Conv=1 + 3 * units + 2 * se,
        Relu=1 + 2 * units + se,
        MaxPool=1,
        Reshape=2 * shuffles,
        Transpose=shuffles,
        AveragePool=3,
        Concat=3,
        Add=units - 3,
        GlobalAveragePool=1 + se,
        Sigmoid=se,
        Mul=se,
        Flatten=1,
        Gemm=1,
    )


RESNET = Counter(Conv=1 + 3 * 16 + 3, Relu=1 + 3 * 16, Add=16, MaxPool=1, GlobalAveragePool=1, Flatten=1, Gemm=1)
# By what a variant is but for its scale, which changes widths only (the next test): the first of each is exported.
EXPECTED = {
    "shufflenet_g1": shufflenet(shuffles=0),
    "shufflenet_g2": shufflenet(),
    "shufflenet_g3": shufflenet(),
    "shufflenet_g4": shufflenet(),
    "shufflenet_g8": shufflenet(),
    "shufflenet_g3_noshuffle": shufflenet(shuffles=0),
    "shufflenet_g8_noshuffle": shufflenet(shuffles=0),
    "shufflenet_g3_se": shufflenet(se=16),
    "shufflenet_g3_shallow": shufflenet(units=8, shuffles=8),
    "xception_like": shufflenet(shuffles=0),
    "vgg_like": Counter(Conv=33, Relu=33, MaxPool=1, GlobalAveragePool=1, Flatten=1, Gemm=1),
    "resnet_like": RESNET,
    "resnext_like": RESNET,
    "mobilenet": Counter(Conv=27, Relu=27, GlobalAveragePool=1, Flatten=1, Gemm=1),
    "alexnet": Counter(Conv=5, Relu=7, MaxPool=3, Flatten=1, Gemm=3),
    "vgg16": Counter(Conv=13, Relu=15, MaxPool=5, Flatten=1, Gemm=3),
    "squeezenet": Counter(Conv=26, Relu=26, Concat=8, MaxPool=3, GlobalAveragePool=1, Flatten=1),
    "googlenet": Counter(Conv=57, Relu=57, Concat=9, MaxPool=13, GlobalAveragePool=1, Flatten=1, Gemm=1),
    # Its C.ReLU is Concat(x, -x), scaled and shifted: Neg, Concat, Mul, Add.
    "pvanet": Counter(
        Conv=84, Relu=80, Neg=8, Mul=8, Add=23, Concat=16, MaxPool=3, GlobalAveragePool=1, Flatten=1, Gemm=1
    ),
}
OF_A_KIND = {kind: [] for kind in EXPECTED}
for variant in variants():
    OF_A_KIND.setdefault(re.sub(r"_x\d_\d+|_\d+m", "", variant), []).append(variant)
# At these two networks' own size their last map is what they pool to already, so no operator does it.
OWN_SIZE = {"vgg16": (224, 224), "alexnet": (224, 224)}


def slim(name):
    """AlexNet or VGG-16 whose classifier has 32 features where theirs has 4096: a tenth of the numbers, and the same operators."""
    with torch.device("meta"):
        net = create(name)
        layers = [i for i, layer in enumerate(net.net.classifier) if isinstance(layer, torch.nn.Linear)]
        widths = [net.net.classifier[layers[0]].in_features, 32, 32, 1000]
        for i, *width in zip(layers, widths, widths[1:], strict=False):
            net.net.classifier[i] = torch.nn.Linear(*width)
    net.to_empty(device="cpu")
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net.eval()


def test_every_variant_is_of_a_kind_with_expected_operators():
    assert set(OF_A_KIND) == set(EXPECTED)
    with torch.device("meta"):
        for first, *others in OF_A_KIND.values():
            modules = Counter(type(module) for module in create(first).modules())
            for other in others:
                assert Counter(type(module) for module in create(other).modules()) == modules


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_graph_holds_the_networks_operators_and_no_others(kind):
    name = OF_A_KIND[kind][0]
    net = slim(name) if name in OWN_SIZE else create(name).eval()
    model = to_onnx(Exportable(net, OWN_SIZE.get(name, SIZE)))
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model) == +EXPECTED[kind]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    (entry,), (result,) = model.graph.input, model.graph.output
    assert entry.type.tensor_type.shape.dim[0].dim_param == result.type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(("name", "groups"), [("shufflenet_x0_25_g8", 8), ("shufflenet_x0_25_g3", 3)])
def test_every_shuffle_is_reshape_transpose_reshape_with_constant_shapes(name, groups):
    model = to_onnx(Exportable(create(name).eval(), SIZE))
    readers = {source: node for node in model.graph.node for source in node.input}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shuffles = 0
    for node in model.graph.node:
        if node.op_type == "Transpose":
            split = next(other for other in model.graph.node if node.input[0] in other.output)
            merge = readers[node.output[0]]
            assert (split.op_type, merge.op_type) == ("Reshape", "Reshape")
            assert list(node.attribute[0].ints) == [0, 2, 1, 3, 4]
            before, after = constants[split.input[1]], constants[merge.input[1]]
            assert before[0] == after[0] == 0  # the batch, whatever it is
            assert before[1] == groups
            assert before[1] * before[2] == after[1]
            assert list(before[3:]) == list(after[2:])
            shuffles += 1
    assert shuffles == 16


def test_an_open_size_costs_one_shape_for_each_shape():
    fixed, open_size = (
        to_onnx(Exportable(create("shufflenet_x0_25_g8").eval(), SIZE, open_size=o)) for o in (False, True)
    )
    # In each stage the first unit shuffles at twice the size of the others.
    assert kinds(open_size) - kinds(fixed) == Counter(Shape=6)
    assert not kinds(fixed) - kinds(open_size)
    assert kinds(to_onnx(Exportable(create("mobilenet_x0_25").eval(), SIZE, open_size=True))) == EXPECTED["mobilenet"]


@pytest.fixture(scope="module")
def open_models(network):
    names = ("shufflenet_x0_25_g8", "shufflenet_x0_5_g3_se", "xception_like_13m", "mobilenet_x0_25")
    sources = {name: Exportable(network(name), SIZE, open_size=True) for name in names}
    return {name: (source, session(to_onnx(source))) for name, source in sources.items()}


@settings(max_examples=10)
@given(height=st.integers(32, 110), width=st.integers(32, 110), batch=st.sampled_from([1, 7]))
def test_any_size_and_batch_equals_torch(open_models, height, width, batch):
    for source, running in open_models.values():
        x = np.random.default_rng(0).standard_normal((batch, 3, height, width)).astype(np.float32)
        result = running.run(None, {"input": x})[0]
        assert compare(result, source.run(x)).max_relative_difference < 1e-4


@pytest.mark.parametrize("options", [{}, {"fold_batch_norm": False}])
@pytest.mark.parametrize("name", ["shufflenet_x1_0_g3", "squeezenet", "pvanet"])
def test_a_fixed_size_equals_torch_at_any_batch(network, name, options):
    source = Exportable(network(name), SIZE, **options)
    model = to_onnx(source)
    assert kinds(model)["BatchNormalization"] == (0 if not options or name == "squeezenet" else kinds(model)["Conv"])
    for batch in (1, 7):
        assert difference(model, source, sample_inputs(source, batch)) < 1e-4


@pytest.fixture(scope="module")
def alexnet():
    return slim("alexnet")


@pytest.mark.parametrize(
    ("size", "pooling"),
    [
        ((224, 224), {}),  # the last map is 6×6 already
        ((448, 224), {"AveragePool": 1}),  # 13×6: windows of 3×1, every second row
        ((480, 224), {"MatMul": 2}),  # 14×6: windows at uneven distances
        ((64, 64), {"MatMul": 2}),  # 1×1: every window is that one value
        ((200, 264), {"MatMul": 2}),  # 5×7: windows of several sizes
    ],
)
def test_alexnet_pools_to_6x6_from_any_size(alexnet, size, pooling):
    source = Exportable(alexnet, size)
    model = to_onnx(source)
    assert difference(model, source, sample_inputs(source, 2)) < 1e-4
    assert {kind: n for kind, n in kinds(model).items() if kind in ("AveragePool", "MatMul")} == pooling


def test_alexnet_at_an_open_size_is_refused_in_a_sentence(alexnet):
    with pytest.raises(UserError, match="alexnet averages to 6×6"):
        to_onnx(Exportable(alexnet, SIZE, open_size=True))


@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_same_padding_is_written_for_one_size_and_refused_for_an_open_one(size):
    net = create("shufflenet_x0_25_g8", padding="same").eval()
    source = Exportable(net, size)
    model = to_onnx(source)
    assert difference(model, source, sample_inputs(source, 2)) < 1e-4
    assert not {"Shape", "Gather", "Slice", "Expand"} & set(kinds(model))
    with pytest.raises(UserError, match="padding='same'"):
        to_onnx(Exportable(net, size, open_size=True))


@pytest.mark.parametrize(
    "options", [{"shuffle_order": "inverse"}, {"shortcut_first": False}, {"classifier_bias": False}, {"stem": "small"}]
)
def test_fields_of_other_implementations_equal_torch(options):
    source = Exportable(create("shufflenet_x0_25_g4", num_classes=5, **options).eval(), (33, 47))
    assert difference(to_onnx(source), source, sample_inputs(source, 3)) < 1e-4


def metadata(order):
    return Metadata(Preprocessing((40, 56), None, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), order), ("ant", "bée", "cat"), {})


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_inside_the_graph_is_the_one_outside(order):
    net = create("mobilenet_x0_25", num_classes=3).eval()
    net.metadata = metadata(order)
    inside, outside = Exportable(net, (40, 56), with_preprocessing=True), Exportable(net, (40, 56))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    mean, std = np.array(net.metadata.preprocessing.mean), np.array(net.metadata.preprocessing.std)
    channels = pictures[..., ::-1] if order == "BGR" else pictures
    x = ((channels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(outside.run(x)), dim=1).numpy()
    model = to_onnx(inside)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    np.testing.assert_allclose(session(model).run(None, {"pictures": pictures})[0], expected, rtol=1e-4)


def test_preprocessing_inside_the_graph_needs_pictures_colours():
    with pytest.raises(UserError, match="4 channels that are not a picture's"):
        to_onnx(Exportable(create("shufflenet_x0_25_g8", in_channels=4).eval(), SIZE, with_preprocessing=True))


def test_metadata_props_say_what_a_user_of_the_file_needs():
    net = create("mobilenet_x0_25", num_classes=3).eval()
    net.metadata = metadata("BGR")
    properties = {entry.key: entry.value for entry in to_onnx(Exportable(net, (40, 56))).metadata_props}
    assert json.loads(properties["classes"]) == ["ant", "bée", "cat"]
    assert json.loads(properties["mean"]) == [0.1, 0.2, 0.3]
    assert json.loads(properties["std"]) == [0.4, 0.5, 0.6]
    assert json.loads(properties["size"]) == [40, 56]
    assert properties["channel_order"] == "BGR"
    assert create(**json.loads(properties["architecture"])).spec == net.spec


def test_the_same_network_gives_the_same_bytes(network):
    net = network("shufflenet_x0_25_g8")
    first, second = (to_onnx(Exportable(net, SIZE)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_an_operator_without_counterpart_is_named():
    net = create("mobilenet_x0_25").eval()
    net.classifier = torch.nn.Sequential(net.classifier, torch.nn.GELU())
    with pytest.raises(UserError, match=r"aten\.gelu\.default"):
        to_onnx(Exportable(net, SIZE))
