"""Detectors of integers: calibrated, saved, exported and compiled, and what is refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.compiler import compile_onnx
from shufflenet.deploy.detector import compile_detector, compile_detector_source
from shufflenet.detection import (
    Category,
    OneStageConfig,
    build_detector,
    detector_config,
    detector_cost,
    export_backbone_onnx,
    export_onnx,
    load_detector,
    open_split,
    save_detector,
)
from shufflenet.detection.dataset import read_pixels
from shufflenet.detection.export import export_heads_onnx
from shufflenet.detection.quantized import QuantizedDetector
from shufflenet.errors import UserError
from shufflenet.quantization import Method, calibrated_detector

from ..deploy.boxes import MACHINES, assert_alike, find_on, torch_boxes

BACKBONE = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}


def shufflenet(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized_detector") / "scenes"
    made = shufflenet(
        "detect", "scenes", folder, "--train", 6, "--test", 2, "--size", 64, "--garments", "fashion-mnist-7k"
    )
    assert made.exit_code == 0, made.output
    return folder


@pytest.fixture(scope="module")
def detector(scenes):
    """Random weights whose activations stay in bounds, and scores above the threshold."""
    torch.manual_seed(0)
    categories = open_split(scenes, "train").categories
    config = OneStageConfig(
        backbone=BACKBONE, categories=categories, size=(64, 96), strides=(8, 32, 64), neck_channels=24,
        anchors=(((16.0, 16.0), (9.0, 20.0)), ((40.0, 50.0),), ((60.0, 60.0),)), score_threshold=0.02,
    )  # fmt: skip
    made = build_detector(config)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            module.momentum = 1.0
    # BN's statistics.
    with torch.no_grad():
        made.train()(
            [torch.rand(3, 64, 64) for _ in range(4)],
            [{"boxes": torch.tensor([[5.0, 5, 30, 30]]), "labels": torch.tensor([1])}] * 4,
        )
    return made.eval()


@pytest.fixture(scope="module")
def folder(detector, scenes, tmp_path_factory):
    """What the command writes, and says as JSON."""
    place = tmp_path_factory.mktemp("int8_detector")
    save_detector(detector, place / "float32")
    done = shufflenet(
        "quantize", place / "float32", scenes, "-o", place / "int8", "--pictures", 6, "--workers", 0, "--json"
    )
    assert done.exit_code == 0, done.output
    return place / "int8", json.loads(done.stdout)


@pytest.fixture(scope="module")
def quantized(folder):
    made = load_detector(folder[0])
    assert isinstance(made, QuantizedDetector)
    return made


@pytest.fixture(scope="module")
def picture(quantized, scenes):
    """One of those that calibrated, as the network sees it."""
    return quantized.transform([read_pixels(next((scenes / "train").iterdir()))])[0].tensors


def test_both_detectors_are_scored_and_the_folder_keeps_it(folder, quantized, detector):
    _, record = folder
    assert record["post_training"]["pictures"] == record["float32"]["pictures"] == 2
    assert record["post_training"]["bytes"] < 0.4 * record["float32"]["bytes"]
    assert quantized.training_record["quantization"]["calibration_pictures"] == 6
    assert detector_cost(quantized) == detector_cost(detector)


def test_its_numbers_are_near_those_of_float32(detector, quantized, picture):
    with torch.inference_mode():
        for ours, before in zip(quantized.network(picture), detector.heads()(picture), strict=True):
            assert float((ours - before).abs().mean()) < 0.2 * float(before.std())
        (ours,), (before,) = quantized([torch.rand(3, 50, 70)]), detector([torch.rand(3, 50, 70)])
    assert ours.keys() == before.keys()


def test_compiled_integers_are_torchs(quantized, picture, tmp_path):
    path = export_heads_onnx(quantized, tmp_path / "heads.onnx")
    assert {onnx.TensorProto.INT8, onnx.TensorProto.INT32} <= {c.data_type for c in onnx.load(path).graph.initializer}
    compiled = compile_onnx(path)
    kinds = {type(step).__name__ for step in compiled.plan.steps}
    assert kinds == {"IntegerStem", "IntegerProduct", "IntegerDepthwise", "RepeatBytes"}, "everything works on codes"
    with torch.inference_mode():
        expected = quantized.network(picture)
    for found, other in zip(compiled.load()(picture.numpy()), expected, strict=True):
        np.testing.assert_allclose(found.reshape(-1), other.numpy().reshape(-1), rtol=3e-7)


@pytest.fixture(scope="module")
def source(quantized):
    return compile_detector_source(quantized, name="finder")[1]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_finds_torchs_boxes(quantized, source, machine, tmp_path):
    random = np.random.default_rng(0)
    # The first has the network's size: what others become by resizing is rounded differently, which tips a code here and there.
    pictures = [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((64, 96), (131, 41), (1, 1))]
    found = [torch_boxes(quantized, pixels) for pixels in pictures]
    assert len(found[0]["boxes"]) > 10
    ours = list(find_on(machine, source, pictures, tmp_path))
    assert_alike(ours[0], found[0], least=quantized.config.score_threshold + 1e-3)
    for boxes, theirs in zip(ours, found, strict=True):
        assert len(boxes) == pytest.approx(len(theirs["boxes"]), rel=0.1, abs=1)
        np.testing.assert_allclose(boxes["score"][:5], theirs["scores"][:5].numpy(), atol=0.02)


def test_onnxruntime_finds_its_boxes(quantized, tmp_path):
    path = export_onnx(quantized, tmp_path / "detector.onnx", size=(64, 96))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    x = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    _, _, scores = onnxruntime.InferenceSession(path).run(None, {"picture": x})
    found = compile_detector(quantized)(pixels)
    assert len(found)
    assert abs(len(scores) - len(found)) <= 0.1 * len(found)
    np.testing.assert_allclose(scores[:10], found["score"][:10], atol=0.02)


def test_what_is_refused(detector, quantized, scenes, folder, tmp_path):
    annotations = open_split(scenes, "train")
    two_stages = build_detector(detector_config(BACKBONE, (Category(1, "one"),), layout="fpn", short_side=64))
    with pytest.raises(UserError, match="fpn cannot be quantized; train one with --layout ssdlite"):
        calibrated_detector(two_stages, annotations)
    with pytest.raises(UserError, match="int8 already"):
        calibrated_detector(quantized, annotations)
    with pytest.raises(UserError, match="no element type 'f8'"):
        calibrated_detector(detector, annotations, Method(activations="f8"))
    with pytest.raises(UserError, match="0 pictures to calibrate on"):
        calibrated_detector(detector, annotations, Method(pictures=0))
    with pytest.raises(UserError, match="leave out --qat"):
        shufflenet("quantize", folder[0], scenes, "-o", tmp_path / "a", "--qat")
    with pytest.raises(UserError, match="no backbone apart"):
        export_backbone_onnx(quantized, tmp_path / "b.onnx", size=64)
    with pytest.raises(UserError, match="is int8; train on the float32 detector"):
        shufflenet("detect", "train", scenes, "--from", folder[0], "-o", tmp_path / "c")
