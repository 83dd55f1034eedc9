"""A detector's raw maps in ncnn and LiteRT, and boxes made of them by nothing but the .json beside the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, pad
from torchvision.ops import nms

from shufflenet.deploy.heads import export_heads_for
from shufflenet.deploy.runtimes import FORMATS
from shufflenet.deploy.worker import start
from shufflenet.detection import Category, OneStageConfig, build_detector, detector_config
from shufflenet.detection.quantized import QuantizedDetector
from shufflenet.errors import UserError

from .boxes import settled

FORMAT = pytest.mark.parametrize("format", ["ncnn", pytest.param("litert", marks=pytest.mark.heavy_export)])


def one_stage_detector(variant="shufflenet_x0_25_g3", size=(75, 90), strides=(8, 16, 32, 64, 128), **fields):
    """Odd sizes pad the picture and halve maps upwards; scores are spread out."""
    anchors = tuple(((1.5 * stride, 2.0 * stride), (2.5 * stride, stride)) for stride in strides)
    defaults = {"categories": (Category(3, "cup"), Category(7, "Schüssel")), "score_threshold": 0.3}
    config = OneStageConfig(
        backbone={"name": variant, "num_classes": 1, "in_channels": 3, "stem": "imagenet"},
        size=size,
        strides=strides,
        anchors=anchors,
        neck_channels=16,
        **{**defaults, **fields},
    )
    return settled(config)


def boxes_by_the_record(record, pictures, run):
    """What a user's own program does: (x1, y1, x2, y2, label, score) rows, the surest first. `pictures` is [1, 3, h, w] from 0 to 1."""
    decoder, (height, width) = record["decoder"], pictures.shape[2:]
    mean, std = (torch.tensor(decoder[name])[:, None, None] for name in ("mean", "std"))
    assert not decoder["letterbox"]
    rows, columns = decoder["size"]
    resized = interpolate((pictures - mean) / std, size=(rows, columns), mode="bilinear")
    missing = [all - size for all, size in zip(decoder["padded_size"], (rows, columns), strict=True)]
    numbers = run(pad(resized, (0, missing[1], 0, missing[0])).numpy())[0]
    maps = {}
    for output in record["outputs"]:
        count = int(np.prod(output["shape"]))
        maps[output["values"], output["stride"]] = numbers[:count].reshape(output["shape"][1:])
        numbers = numbers[count:]
    assert not len(numbers)
    corners, logits = [], []
    weights, clip = (np.float32(decoder["box_coder"][name]) for name in ("weights", "clip"))
    classes = 1 + len(decoder["class_names"])
    for level in decoder["levels"]:
        stride, anchors = level["stride"], level["anchors"]
        for y, x, number in np.ndindex(level["rows"], level["columns"], len(anchors)):
            side = np.float32(anchors[number])
            offsets = maps["offsets", stride][4 * number : 4 * number + 4, y, x] / weights
            centre = (np.float32([x, y]) + 0.5) * stride + offsets[:2] * side
            half = side * np.exp(np.minimum(offsets[2:], clip)) / 2
            corners.append(np.concatenate([centre - half, centre + half]))
            logits.append(maps["logits", stride][classes * number : classes * (number + 1), y, x])
    scores = torch.softmax(torch.tensor(np.array(logits)), dim=1)
    corners = torch.tensor(np.array(corners)).clamp(min=0).minimum(torch.tensor([columns, rows, columns, rows]))
    found = []
    for label in range(1, classes):
        sure = torch.nonzero(scores[:, label] > decoder["score_threshold"])[:, 0]
        best = sure[scores[sure, label].argsort(descending=True)][: decoder["candidates_per_class"]]
        kept = best[nms(corners[best], scores[best, label], decoder["nms_threshold"])]
        found += [(*corners[i].tolist(), label, float(scores[i, label])) for i in kept]
    found = sorted(found, key=lambda row: -row[-1])[: decoder["detections_per_picture"]]
    scale = [width / columns, height / rows, width / columns, height / rows, 1, 1]
    return np.array(found) * scale


@FORMAT
def test_the_record_makes_torchs_boxes_of_the_maps(tmp_path, capsys, format):
    detector = one_stage_detector()
    runtime = FORMATS[format]
    path = tmp_path / f"cups{runtime.suffix}"
    done = export_heads_for(detector, path, format)
    assert done.max_relative_difference < 1e-4
    assert not capsys.readouterr().out
    record = json.loads(done.record.read_text())
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*record["files"], done.record.name])
    assert path.name == record["files"][0]
    assert record["bytes"] == sum((tmp_path / file).stat().st_size for file in record["files"])
    assert record["input"]["shape"] == [1, 3, 96, 96]
    assert record["decoder"]["class_names"] == ["cup", "Schüssel"]
    assert [output["shape"][2] for output in record["outputs"]] == [12, 12, 6, 6, 3, 3, 2, 2, 1, 1]

    def run(inputs):
        with start(runtime, path, inputs) as worker:
            return worker.outputs

    picture = torch.rand(3, 50, 130, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (expected,) = detector([picture])
    found = boxes_by_the_record(record, picture[None], run)
    assert len(found) > 20
    assert found[:, 4].tolist() == expected["labels"].tolist()
    np.testing.assert_allclose(found[:, :4], expected["boxes"], atol=0.05)
    np.testing.assert_allclose(found[:, 5], expected["scores"], atol=1e-4)


@pytest.mark.parametrize(
    ("variant", "strides"),
    [("shufflenet_x0_25_g8", (16, 32)), ("shufflenet_x0_25_g3_se", (8, 64)), ("mobilenet_x0_25", (8, 16, 32))],
)
def test_ncnn_computes_other_networks_too(tmp_path, variant, strides):
    detector = one_stage_detector(variant, (64, 97), strides, letterbox=True)
    done = export_heads_for(detector, tmp_path / "a.ncnn.param", "ncnn")
    assert done.max_relative_difference < 5e-4
    record = json.loads(done.record.read_text())
    names = [line.split() for line in done.files[0].read_text().splitlines()]
    assert {output["name"] for output in record["outputs"]} <= {word for line in names for word in line}


def test_maps_in_another_order_are_not_written(tmp_path, monkeypatch):
    """Logits and offsets of as many channels: only their numbers tell them apart."""
    categories = tuple(Category(i, f"class {i}") for i in range(3))
    detector = one_stage_detector(size=(64, 64), strides=(16, 32), categories=categories)
    ncnn = FORMATS["ncnn"]

    def swapped(heads, folder):
        written = ncnn.write_heads(heads, folder)
        text = written[0].read_text()
        written[0].write_text(text.replace("out0", "other").replace("out1", "out0").replace("other", "out1"))
        return written

    monkeypatch.setitem(FORMATS, "ncnn", replace(ncnn, write_heads=swapped))
    with pytest.raises(UserError, match="differs from float64 by"):
        export_heads_for(detector, tmp_path / "a.ncnn.param", "ncnn")
    assert not list(tmp_path.iterdir())


def test_what_has_no_heads_is_refused_in_a_sentence(tmp_path):
    detector = one_stage_detector(size=(32, 32), strides=(32,))
    path = tmp_path / "a.ncnn.param"
    with pytest.raises(UserError, match=r"no format 'mnn' for detectors; it is one of onnx, ncnn, litert"):
        export_heads_for(detector, path, "mnn")
    with pytest.raises(UserError, match=r"a\.onnx does not end in \.ncnn\.param"):
        export_heads_for(detector, tmp_path / "a.onnx", "ncnn")
    with pytest.raises(UserError, match="reads no network of integers"):
        export_heads_for(QuantizedDetector(detector), path, "ncnn")
    for layout in ("paper", "fpn"):
        two_stages = build_detector(
            detector_config(detector.config.backbone, (Category(1, "cup"),), layout=layout, short_side=64)
        )
        with pytest.raises(UserError, match=f"layout {layout} is not exported for ncnn"):
            export_heads_for(two_stages, path, "ncnn")
    for name in ("a.ncnn.param", "a.ncnn.param.json", "a.ncnn.bin"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UserError, match=f"{name} is there already"):
            export_heads_for(detector, path, "ncnn")
        (tmp_path / name).unlink()
    assert not list(tmp_path.iterdir())
