"""Boxes on pictures, and the same boxes from ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from shufflenet.compiler import compile_onnx
from shufflenet.detection import (
    Category,
    OneStageConfig,
    draw,
    export_backbone_onnx,
    export_onnx,
    predict,
)
from shufflenet.detection.predict import drawing_names
from shufflenet.errors import UserError

from ..deploy.boxes import settled


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_prediction_and_its_drawing(make_detector, tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).convert(mode).save(path)
    detector = make_detector(score_threshold=0.0)
    prediction = predict(detector, path, threshold=0.0)
    assert (prediction.picture, prediction.width, prediction.height) == (str(path), 90, 60)
    scores = [detection.score for detection in prediction.detections]
    assert scores == sorted(scores, reverse=True)
    assert {detection.label for detection in prediction.detections} <= {"bowl", "cup"}
    drawn = draw(prediction)
    assert drawn.size == (90, 60)
    assert np.any(np.asarray(drawn) != np.asarray(Image.open(path).convert("RGB")))
    middle = scores[len(scores) // 2]
    kept = predict(detector, path, threshold=middle).detections
    assert [detection.score for detection in kept] == [score for score in scores if score >= middle]
    nothing = predict(detector, path, threshold=1.0)
    assert nothing.detections == ()
    assert draw(nothing).size == (90, 60)


def test_onnx_runtime_finds_the_same_boxes_of_one_stage(tmp_path):
    config = OneStageConfig(
        backbone={"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"},
        categories=(Category(1, "cup"), Category(2, "bowl")),
        size=(64, 96),
        letterbox=True,
        strides=(8, 32),
        anchors=(((12.0, 14.0),), ((40.0, 50.0),)),
        neck_channels=16,
        score_threshold=0.3,
    )
    detector = settled(config)
    path = export_onnx(detector, tmp_path / "detector.onnx", size=(80, 100))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((80, 100), (150, 97), (20, 64)):
        picture = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            (expected,) = detector([picture])
        boxes, labels, scores = session.run(None, {"picture": picture.numpy()})
        assert len(boxes)
        assert labels.tolist() == expected["labels"].tolist()
        np.testing.assert_allclose(boxes, expected["boxes"], atol=0.05)
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-4)


def test_two_pictures_of_one_name_get_two_drawings():
    names = list(drawing_names(["one/a.jpg", "two/a.jpg", "b.png", "three/A.png", "a-2.jpg"]))
    assert names == ["a.png", "a-2.png", "b.png", "A-3.png", "a-2-2.png"]


@pytest.mark.parametrize("layout", ["paper", "fpn"])
def test_onnx_runtime_finds_the_same_boxes(make_detector, tmp_path, layout):
    """At sizes other than the traced one too: 97×150 is one where torchvision's own resizing is a pixel off."""
    detector = make_detector(layout=layout, short_side=128, score_threshold=0.01)
    path = export_onnx(detector, tmp_path / "detector.onnx", size=(80, 100))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = 0
    for size in ((80, 100), (150, 97), (300, 64)):
        picture = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            (expected,) = detector([picture])
        boxes, labels, scores = session.run(None, {"picture": picture.numpy()})
        assert labels.tolist() == expected["labels"].tolist()
        np.testing.assert_allclose(boxes, expected["boxes"], atol=0.05)
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-4)
        found += len(boxes)
    assert found
    with pytest.raises(UserError, match="is there already"):
        export_onnx(detector, path)


@pytest.mark.parametrize(("layout", "size"), [("paper", (300, 400)), ("fpn", (600, 800))])
def test_the_backbone_compiles(make_detector, tmp_path, layout, size):
    detector = make_detector(layout=layout)
    path = export_backbone_onnx(detector, tmp_path / "backbone.onnx", size=size)
    picture = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = detector.backbone.features(picture)
    compiled = compile_onnx(path).load()(picture.numpy()[0])
    for ours, expected in zip(compiled if isinstance(compiled, tuple) else (compiled,), maps.values(), strict=True):
        assert np.abs(ours - expected.numpy()[0]).max() < 1e-4 * expected.abs().max()
