"""Every network of the paper, compiled, against ONNX Runtime; on failure the first operation that differs is named."""

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from shufflenet import nets
from shufflenet.compiler import CompiledNetwork, compile_onnx
from shufflenet.compiler.graph.ir import Convolution, Elementwise, GlobalPool, Pool
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

from .native import first_that_differs, load_native
from .networks import difference, run_onnxruntime

TOLERANCE = 1e-4  # of the output's largest value
HALF_TOLERANCE = 5e-3  # of float16
SMALL, ODD, PAPER, VGA, HD = (32, 32), (97, 131), (224, 224), (480, 640), (720, 1280)
SIZES = [VGA, HD, ODD]
# Each family and every number of groups, at sizes that take seconds. `make test-sizes` takes all networks at all sizes.
SAMPLE = [
    *((f"shufflenet_x1_0_g{groups}", PAPER) for groups in (1, 2, 3, 4, 8)),
    *((f"shufflenet_x0_25_g{groups}", PAPER) for groups in (3, 8)),
    *(("shufflenet_x0_5_g3_se", PAPER), ("shufflenet_x0_5_g3_shallow", PAPER), ("shufflenet_x1_5_g3", PAPER)),
    *((f"{family}_like_38m", PAPER) for family in ("resnet", "resnext", "xception")),
    *((name, PAPER) for name in ("mobilenet_x0_5", "alexnet")),
    *(("shufflenet_x0_5_g3", size) for size in (*SIZES, SMALL)),
    *(("mobilenet_x0_25", size) for size in (HD, ODD, SMALL)),
    ("shufflenet_x0_25_g8_noshuffle", ODD),
    *(("shufflenet_x2_0_g3_se", size) for size in (ODD, SMALL)),
    *((f"{family}_like_13m", ODD) for family in ("resnet", "resnext", "xception")),
    ("vgg_like_38m", VGA),
    ("alexnet", VGA),  # its last map is shared out unevenly
    *((name, ODD) for name in ("googlenet", "squeezenet", "pvanet")),
]


def network(name: str, **fields: object) -> torch.nn.Module:
    """With weights and statistics at random, so that no normalisation is the identity; activations keep their size."""
    torch.manual_seed(0)
    net = nets.create(name, **fields).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def check(model: onnx.ModelProto, size: tuple[int, int], folder: Path) -> None:
    compiled = compile_onnx(model, size, embed=False)
    port = compiled.plan.inputs[0]
    inputs = {port.name: np.random.default_rng(0).standard_normal(port.shape).astype(np.float32)}
    network = load_native(compiled.source, folder, threads=3)
    found = network(*inputs.values())
    np.testing.assert_array_equal(found, CompiledNetwork(network.library, network.signature)(*inputs.values()))
    (expected,) = run_onnxruntime(model, inputs).values()
    apart = difference(found[None], expected)
    if not apart <= TOLERANCE:
        pytest.fail(
            f"off by {apart:.1e}; first: {first_that_differs(simplify(read_onnx(model, size)), inputs, folder)}"
        )


def check_size(name: str, size: tuple[int, int], folder: Path) -> None:
    """32×32 is for the stem that does not shrink pictures, here of one channel."""
    fields = {"stem": "small", "num_classes": 10, "in_channels": 1} if size == SMALL else {}
    check(to_onnx(Exportable(network(name, **fields), size)), size, folder)


@pytest.mark.parametrize(("name", "size"), SAMPLE)
def test_networks(name, size, tmp_path):
    check_size(name, size, tmp_path)


def check_halves(name: str, size: tuple[int, int], folder: Path) -> None:
    """float16, compiled for this machine, against ONNX Runtime's float32; and how much memory it takes."""
    model = to_onnx(Exportable(network(name), size))
    compiled, usual = (
        compile_onnx(model, size, embed=False, element="float16"),
        make_plan(simplify(read_onnx(model, size))),
    )
    port = compiled.plan.inputs[0]
    inputs = {port.name: np.random.default_rng(0).standard_normal(port.shape).astype(np.float32)}
    (expected,) = run_onnxruntime(model, inputs).values()
    assert difference(load_native(compiled.source, folder)(*inputs.values())[None], expected) <= HALF_TOLERANCE
    assert compiled.plan.arena_bytes <= 0.56 * usual.arena_bytes + 4096


@pytest.mark.parametrize(("name", "size"), [("shufflenet_x0_5_g3", ODD), ("shufflenet_x0_25_g8", PAPER)])
def test_networks_in_halves(name, size, tmp_path):
    check_halves(name, size, tmp_path)


@pytest.mark.every_size
@pytest.mark.parametrize("name", nets.variants())
def test_every_network_in_halves(name, tmp_path):
    check_halves(name, PAPER, tmp_path)


@pytest.mark.every_size
@pytest.mark.parametrize("size", [PAPER, *SIZES, SMALL], ids=str)
@pytest.mark.parametrize("name", nets.variants())
def test_every_network_at_every_size(name, size, tmp_path):
    check_size(name, size, tmp_path)


@pytest.mark.parametrize("name", ["shufflenet_x1_0_g3", "shufflenet_x0_5_g8", "shufflenet_x0_25_g4"])
def test_units_are_left_as_convolutions_and_pools_alone(name):
    """A stem of two operations, three a unit and one pool more where it strides, a mean, a classifier: no shuffle, no ReLU."""
    graph = simplify(read_onnx(to_onnx(Exportable(network(name), (224, 224))), (224, 224)))
    kinds = [type(operation) for operation in graph.operations]
    assert kinds.count(Convolution) == 1 + 16 * 3 + 1
    assert kinds.count(Pool) == 1 + 3
    assert kinds.count(GlobalPool) == 1
    assert len(kinds) == 1 + 16 * 3 + 1 + 4 + 1
    assert all(view.is_contiguous for operation in graph.operations for view in operation.inputs)
    assert all(pool.activation is None for pool in graph.operations if isinstance(pool, Pool))


def test_excitation_is_left_as_one_product_a_unit():
    graph = simplify(read_onnx(to_onnx(Exportable(network("shufflenet_x2_0_g3_se"), (224, 224))), (224, 224)))
    products = [operation for operation in graph.operations if isinstance(operation, Elementwise)]
    assert len(products) == 16
    assert sum(product.addend is not None for product in products) == 13


@pytest.mark.parametrize("dynamo", [False, True])
def test_files_of_torch_onnx_export(dynamo, tmp_path):
    """Both of torch's exporters; the older one with sizes left open, by which it wraps every shuffle in arithmetic on shapes."""
    net, picture = network("shufflenet_x0_25_g3"), torch.zeros(1, 3, 64, 64)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(net, (picture,), tmp_path / "net.onnx", dynamo=True, verbose=False)
        else:
            axes = {"x": {0: "n", 2: "h", 3: "w"}}
            torch.onnx.export(net, (picture,), file, dynamo=False, input_names=["x"], dynamic_axes=axes)
            (tmp_path / "net.onnx").write_bytes(file.getvalue())
    model = onnx.load(tmp_path / "net.onnx")
    check(model, (64, 64) if dynamo else (96, 70), tmp_path)
    kinds = {type(operation) for operation in simplify(read_onnx(model, (64, 64))).operations}
    assert kinds == {Convolution, Pool, GlobalPool}
