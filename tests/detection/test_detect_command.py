"""The verbs of `shufflenet detect`, as a user types them."""

import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.detection import load_detector
from shufflenet.errors import UserError

SMALL = [
    "pool_size=4",
    "pyramid_channels=16",
    "head_channels=32",
    "proposals_train=20",
    "proposals_test=10",
    "score_threshold=0.0",
]


def run(*arguments):
    return _run("detect", *arguments)


def run_compile(*arguments):
    return _run("compile", *arguments)


def _run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_from_scenes_to_boxes(tmp_path):
    scenes, folder = tmp_path / "scenes", tmp_path / "run"
    run("scenes", scenes, "--train", 4, "--test", 2, "--size", 64)
    settings = [part for setting in SMALL for part in ("--detector", setting)]
    quick = ("--set", "iterations=1", "--set", "batch_size=2", "--set", "workers=0", "--set", "sync_batch_norm=false")
    chosen = ("--variant", "shufflenet_x0_25_g3", "--layout", "fpn", "--short-side", 64, *settings, *quick)
    record = json.loads(run("train", scenes, *chosen, "-o", folder, "--json"))
    assert record["dataset"] == "scenes"
    assert record["cost"]["backbone"] > 0

    scores = json.loads(run("evaluate", folder, scenes, "--json", "--workers", 0, "--results", tmp_path / "rows.json"))
    assert scores["average_precision"] == record["average_precision"]
    assert {row["image_id"] for row in json.loads((tmp_path / "rows.json").read_text())} <= {1, 2}
    assert "mAP" in run("evaluate", folder, scenes, "--workers", 0)

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("L", (70, 50), 90).save(tmp_path / name / "a.png")
    pictures = [tmp_path / name / "a.png" for name in ("one", "two")]
    output = tmp_path / "found"
    records = json.loads(run("predict", folder, *pictures, "-o", output, "--threshold", 0, "--json"))
    assert records == json.loads((output / "predictions.json").read_text())
    assert [record["drawing"] for record in records] == ["a.png", "a-2.png"]
    with Image.open(output / "a-2.png") as drawing:
        assert drawing.size == (70, 50)
    with pytest.raises(UserError, match="is there already"):
        run("predict", folder, *pictures, "-o", output)
    run("predict", folder, *pictures, "-o", output, "--overwrite")
    assert "bag" in run("export", folder, tmp_path / "detector.onnx")

    with pytest.raises(UserError, match="--size is for --heads"):
        run("export", folder, tmp_path / "other.onnx", "--size", "50x70")
    run("export", folder, tmp_path / "heads.onnx", "--heads", "--size", "50x70")
    parameters = json.loads((tmp_path / "heads.json").read_text())
    assert parameters["padded_size"] == [64, 96]
    assert parameters["box_coder"]["weights"] == [10, 10, 5, 5]
    assert parameters["proposal_box_coder"]["weights"] == [1, 1, 1, 1]

    (torchs,), (compiled,) = (
        json.loads(run("predict", folder, pictures[0], "--threshold", 0, "--json", "--engine", engine))
        for engine in ("torch", "compiled")
    )
    assert len(compiled["detections"]) == len(torchs["detections"]) > 0
    for ours, theirs in zip(compiled["detections"], torchs["detections"], strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-3)

    written = json.loads(run_compile(folder, "-o", tmp_path / "c", "--size", "50x70", "--json"))
    header = (tmp_path / "c" / "detector.h").read_text()
    assert f"#define DETECTOR_DETECT_ARENA_BYTES {written['detect_arena_bytes']}\n" in header
    assert (tmp_path / "c" / "main.c").exists()
    assert "made for pictures of 64×64" in run_compile(folder, "-o", tmp_path / "square")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("train", "{here}", "-o", "run"), "give one of --variant"),
        (("train", "{here}", "-o", "run", "--variant", "alexnet", "--set", "batch=3"), "no field 'batch'"),
        (("train", "{here}", "-o", "run", "--variant", "alexnet"), "holds no train split"),
        (("train", "{here}", "-o", "run", "--variant", "alexnet", "--size", "320"), "--size is for the layout ssdlite"),
        (
            ("train", "{here}", "-o", "run", "--variant", "alexnet", "--layout", "ssdlite", "--short-side", "320"),
            "--short-side is for the layouts paper and fpn",
        ),
        (("predict", "{here}", "a.png"), "has no config.json"),
    ],
)
def test_mistakes_are_explained(tmp_path, arguments, complaint):
    with pytest.raises(UserError, match=complaint):
        run(*(argument.format(here=tmp_path) for argument in arguments))


def test_a_one_stage_detector_goes_on_past_broken_pictures(tmp_path):
    scenes, folder = tmp_path / "scenes", tmp_path / "run"
    run("scenes", scenes, "--train", 4, "--test", 2, "--size", 64)
    quick = ("--set", "iterations=1", "--set", "batch_size=2", "--set", "workers=0")
    chosen = ("--variant", "shufflenet_x0_25_g3", "--layout", "ssdlite", "--size", "64x96", *quick)
    printed = run("train", scenes, *chosen, "-o", folder)
    assert "multiply-adds at 64×96: backbone" in printed
    assert json.loads((folder / "result.json").read_text())["size"] == [64, 96]
    assert "a.ncnn.bin: picture" in run("export", folder, tmp_path / "a.ncnn.param", "--format", "ncnn")
    for option in ("--size", "--backbone"):
        with pytest.raises(UserError, match=f"{option} is for ONNX; ncnn gets an ssdlite's heads"):
            run("export", folder, tmp_path / "b.ncnn.param", "--format", "ncnn", option, "64x96")
    more = tmp_path / "more"
    run("train", scenes, "--from", folder, *quick, "--set", "learning_rate=1e-9", "-o", more)
    before, after = (load_detector(place) for place in (folder, more))
    assert before.config == after.config
    for name, tensor in before.state_dict().items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(after.state_dict()[name], tensor)
    with pytest.raises(UserError, match="keeps its layout"):
        run("train", scenes, "--from", folder, "--size", "64x96", "-o", tmp_path / "third")
    shots = tmp_path / "shots"
    shots.mkdir()
    Image.new("RGB", (70, 50), "red").save(shots / "a.png")
    (shots / "b.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 90), "blue").save(shots / "c.png")
    result = CliRunner().invoke(
        app, ["detect", "predict", str(folder), str(shots), "-o", str(tmp_path / "found"), "--json"]
    )
    assert result.exit_code == 1
    records = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert ["error" in record for record in records] == [False, True, False]
    assert "b.png is not a picture" in result.stderr
