"""Detectors in several engines: all find torch's boxes, and what is missing is said."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.deploy.detector_bench import ENGINES, bench_detector, matched
from shufflenet.detection import Category, OneStageConfig, save_detector
from shufflenet.errors import UserError

from .boxes import settled

BACKBONE = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}


@pytest.fixture(scope="module")
def detector():
    config = OneStageConfig(
        backbone=BACKBONE,
        categories=(Category(1, "cup"), Category(2, "bowl")),
        size=(64, 96),
        strides=(8, 16),
        anchors=(((12.0, 14.0),), ((30.0, 26.0), (40.0, 50.0))),
        neck_channels=16,
        score_threshold=0.3,
    )
    return settled(config)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (70, 110, 3), dtype=np.uint8)


def test_every_engine_finds_torchs_boxes(detector, pixels):
    done = bench_detector(detector, pixels, rounds=1)
    assert not done.absent
    assert {row.engine for row in done.rows} == set(ENGINES)
    for row in done.rows:
        assert row.boxes > 3, row.engine
        assert row.matched == 1, row.engine
        assert 0 < row.minimum_ms <= row.median_ms
    assert [row.median_ms for row in done.rows] == sorted(row.median_ms for row in done.rows)
    json.dumps(done.to_json())


def test_what_cannot_be_measured_is_said(detector, pixels, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setitem(ENGINES, "onnx", ENGINES["onnx"].__class__("broken", "torch", "torch", "onnx", broken))
    done = bench_detector(detector, pixels, ("onnx", "torch", "compiled"), threads=2, rounds=1)
    assert [(absent.runtime, absent.reason.partition(";")[0]) for absent in done.absent] == [
        ("onnx", "no such operator"),
        ("compiled", "a compiled detector runs on one thread"),
    ]
    with pytest.raises(UserError, match="there is no engine 'tpu'"):
        bench_detector(detector, pixels, ("tpu",))


def test_the_share_of_boxes_that_match():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    labels, scores = np.array([1, 2]), np.array([0.9, 0.8], np.float32)
    assert matched((boxes + 0.4, labels, scores), (boxes, labels, scores)) == 1
    assert matched((boxes + np.array([[0.6], [0]], np.float32), labels, scores), (boxes, labels, scores)) == 0.5
    assert matched((boxes, labels[::-1], scores), (boxes, labels, scores)) == 0
    nothing = (boxes[:0], labels[:0], scores[:0])
    assert matched(nothing, nothing) == 1
    assert matched((boxes, labels, scores), nothing) == 0


def test_the_verb(detector, pixels, tmp_path):
    save_detector(detector, tmp_path / "cups")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    command = ["detect", "bench", str(tmp_path / "cups"), str(tmp_path / "a.png"), "--rounds", "1", "--engines"]
    record = json.loads(CliRunner().invoke(app, [*command, "torch,compiled", "--json"]).stdout)
    assert {row["engine"] for row in record["rows"]} == {"torch", "compiled"}
    assert record["picture"] == [70, 110]
    assert "compiled C" in CliRunner().invoke(app, [*command, "compiled"]).stdout
