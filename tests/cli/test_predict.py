"""`shufflenet predict`: pictures of every kind, and files that are none, in one list."""

import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.cli import app

RED_OR_GREEN = Preprocessing((32, 32), 36, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that tells red pictures from green and blue ones: its layers pass the mean of each colour on to the classifier."""
    net = shufflenet.create("mobilenet_x0_25", num_classes=3, stem="small")
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.zero_()
                middle = layer.weight.shape[-1] // 2
                for colour in range(3):
                    layer.weight[colour, 0 if layer.groups > 1 else colour, middle, middle] = 1.0
        net.classifier.weight.zero_()
        net.classifier.bias.zero_()
        net.classifier.weight[:, :3] = 5 * torch.eye(3)
    net.metadata = Metadata(RED_OR_GREEN, ("red", "green", "[blue]"))
    return shufflenet.save(net, tmp_path_factory.mktemp("predict") / "net")


@pytest.fixture
def pictures(tmp_path):
    """One file of each kind that people have."""
    red, green, blue = (Image.new("RGB", (50, 40), colour) for colour in ("red", "lime", "blue"))
    red.save(tmp_path / "a.jpg")
    green.save(tmp_path / "b.png")
    blue.save(tmp_path / "c.webp", lossless=True)
    red.save(tmp_path / "d.bmp")
    green.save(tmp_path / "e.gif", save_all=True, append_images=[red])
    blue.convert("P").save(tmp_path / "f.png")
    red.convert("RGBA").save(tmp_path / "g.png")
    green.convert("CMYK").save(tmp_path / "h.jpg")
    return tmp_path


EXPECTED = {
    "a.jpg": "red",
    "b.png": "green",
    "c.webp": "[blue]",
    "d.bmp": "red",
    "e.gif": "green",
    "f.png": "[blue]",
    "g.png": "red",
    "h.jpg": "green",
}


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "160"})


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_folder_of_every_format(folder, pictures, batch_size):
    (pictures / "notes.txt").write_text("not asked about")
    result = run(folder, pictures, "--json", "--batch-size", batch_size)
    rows = json.loads(result.stdout)
    assert {row["file"].rsplit("/", 1)[1]: row["classes"][0]["name"] for row in rows} == EXPECTED
    assert result.exit_code == 0
    for row in rows:
        assert row["error"] is None
        probabilities = [found["probability"] for found in row["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)


def test_probabilities_are_the_networks(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (36, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    net = shufflenet.load(folder)
    crop = torch.from_numpy(pixels[2:34, 2:34].copy()).permute(2, 0, 1)[None] / 255
    expected = net(crop).softmax(dim=1)[0]
    found = json.loads(run(folder, tmp_path / "noise.png", "--json").stdout)[0]["classes"]
    for row in found:
        assert row["probability"] == pytest.approx(expected[row["index"]].item(), rel=1e-4)


def test_unreadable_files_are_named_and_the_others_go_on(folder, pictures):
    (pictures / "text.jpg").write_text("hello")
    (pictures / "empty.png").write_bytes(b"")
    whole = (pictures / "a.jpg").read_bytes()
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    bomb = bytearray((pictures / "b.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 40_000, 40_000)  # width and height, as the header claims
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (pictures / "huge.png").write_bytes(bomb)
    Image.new("1", (1, 150_000)).save(pictures / "thread.png")  # 194 million pixels once its short side is resized
    files = [
        pictures / name
        for name in ("text.jpg", "a.jpg", "empty.png", "cut.jpg", "huge.png", "thread.png", "nowhere.png", "b.png")
    ]
    result = run(folder, *files, "--json")
    assert result.exit_code == 1
    rows = {row["file"].rsplit("/", 1)[1]: row for row in json.loads(result.stdout)}
    assert list(rows) == [file.name for file in files]
    assert rows["a.jpg"]["classes"][0]["name"] == "red"
    assert rows["b.png"]["classes"][0]["name"] == "green"
    messages = result.stderr.splitlines()
    assert len(messages) == 6
    for name in ("text.jpg", "empty.png", "cut.jpg", "huge.png", "thread.png", "nowhere.png"):
        assert rows[name]["classes"] == []
        assert name in rows[name]["error"]
        assert any(line.startswith("error: ") and name in line for line in messages)
    assert "absurdly large" in rows["huge.png"]["error"]


def test_nothing_but_unreadable_files(folder, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    result = run(folder, tmp_path / "text.jpg")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "text.jpg is not a picture" in result.stderr


def test_table_shows_the_likeliest_classes(folder, pictures):
    result = run(folder, pictures / "a.jpg", pictures / "c.webp", "--top", "2")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["picture", "class", "probability"]
    assert lines[1][0].endswith("a.jpg")
    assert lines[1][1] == "red"
    assert len(lines) == 5
    assert lines[3][1] == "[blue]"
    assert lines[3][2].endswith("%")


def test_folder_without_pictures(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(shufflenet.errors.UserError, match=r"there are no pictures in .*empty"):
        run(folder, tmp_path / "empty")


def test_network_without_class_names_numbers_them(folder, pictures, tmp_path):
    net = shufflenet.load(folder)
    net.metadata = Metadata(RED_OR_GREEN)
    shufflenet.save(net, tmp_path / "net")
    rows = json.loads(run(tmp_path / "net", pictures / "b.png", "--json", "--top", "1").stdout)
    assert [(found["index"], found["name"]) for found in rows[0]["classes"]] == [(1, "1")]


def test_compiled_engine_says_the_same(folder, pictures):
    by_torch, by_c = (
        json.loads(run(folder, pictures, "--json", "--engine", engine).stdout) for engine in ("torch", "compiled")
    )
    for row, other in zip(by_torch, by_c, strict=True):
        assert [found["name"] for found in row["classes"]] == [found["name"] for found in other["classes"]]
        for found, same in zip(row["classes"], other["classes"], strict=True):
            assert found["probability"] == pytest.approx(same["probability"], rel=1e-3)


def test_core_install_predicts_and_names_the_extra_that_compiling_takes(folder, pictures):
    """In a process of its own, where onnx cannot be imported."""
    code = "import sys; sys.modules['onnx'] = None; from shufflenet.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", str(folder), str(pictures / "a.jpg")]
    plain = subprocess.run(command, capture_output=True, text=True)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "red" in plain.stdout
    compiled = subprocess.run([*command, "--engine", "compiled"], capture_output=True, text=True)
    assert compiled.returncode == 2
    assert compiled.stderr.startswith("error: compiling needs onnx")
    assert "pip install 'shufflenet[compile]'" in compiled.stderr
