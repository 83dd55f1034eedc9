"""`shufflenet compile`: what it writes builds and classifies, and nothing is lost on the way."""

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing, save
from shufflenet.cli import app
from shufflenet.compiler import CompileError
from shufflenet.compiler.run.build import TARGETS
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import cost, create

runner = CliRunner()
SIZE = (48, 64)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = create("shufflenet_x0_25_g3", num_classes=3).eval()
    net.metadata = Metadata(Preprocessing(size=SIZE, short_side=64), ("ant", "bee", "cat"))
    return net


@pytest.fixture(scope="module")
def checkpoint(net, tmp_path_factory):
    return save(net, tmp_path_factory.mktemp("cli") / "net")


def run(*arguments):
    return runner.invoke(app, ["compile", *map(str, arguments)], catch_exceptions=False)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_help_names_every_target():
    text = runner.invoke(app, ["compile", "--help"], env={"COLUMNS": "300"}).stdout
    assert all(f"{target}," in text or f"{target}." in text for target in TARGETS)


def test_the_program_classifies_a_picture(net, checkpoint, tmp_path):
    record = json.loads(run(checkpoint, "-o", tmp_path, "--name", "tiny", "--json").stdout)
    assert [Path(path).name for path in record["files"]] == ["tiny.c", "tiny.h", "main.c", "threads.h"]
    assert record["arena_lower_bound_bytes"] <= record["arena_bytes"]
    # Some pools are steps of products.
    assert record["multiply_adds"] == pytest.approx(cost(net, SIZE).multiply_adds, rel=0.02)
    build = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "main.c", "tiny.c", "-pthread"]
    subprocess.run([*build, "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([*build, "-DTHREADS=3", "-o", "main_on_threads"], cwd=tmp_path, check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.ppm")
    done = subprocess.run(["./main", "picture.ppm"], cwd=tmp_path, capture_output=True, text=True, check=True)
    on_threads = subprocess.run(
        ["./main_on_threads", "picture.ppm"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert on_threads.stdout == done.stdout
    found = dict(line.split() for line in done.stdout.splitlines())
    preprocessing = net.metadata.preprocessing
    x = torch.tensor((pixels / 255 - preprocessing.mean) / preprocessing.std, dtype=torch.float32).permute(2, 0, 1)
    with torch.inference_mode():
        logits = net(x[None])[0]
    for index, value in found.items():
        assert float(value) == pytest.approx(float(logits[int(index)]), abs=1e-4 * float(logits.abs().max()))


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_the_program_of_a_grey_network_classifies_a_grey_picture(stem, tmp_path):
    torch.manual_seed(0)
    net = create("shufflenet_x0_25_g3", num_classes=3, in_channels=1, stem=stem).eval()
    net.metadata = Metadata(Preprocessing((33, 41), None, (0.3,), (0.4,), "grey"), ("ant", "bee", "cat"))
    folder = save(net, tmp_path / "net")
    record = json.loads(run(folder, "-o", tmp_path / "c", "--name", "tiny", "--json").stdout)
    assert [Path(path).name for path in record["files"]] == ["tiny.c", "tiny.h", "main.c", "threads.h"]
    strict = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "main.c", "tiny.c", "-o", "main"]
    subprocess.run(["gcc", *strict], cwd=tmp_path / "c", check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 41), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "c" / "picture.pgm")
    done = subprocess.run(["./main", "picture.pgm"], cwd=tmp_path / "c", capture_output=True, text=True, check=True)
    found = {int(line.split()[0]): float(line.split()[1]) for line in done.stdout.splitlines()}
    with torch.inference_mode():
        logits = net(torch.tensor((pixels / 255 - 0.3) / 0.4, dtype=torch.float32)[None, None])[0]
    assert found == pytest.approx(dict(enumerate(logits.tolist())), abs=1e-4 * float(logits.abs().max()))
    compiled = shufflenet.compile(folder)
    np.testing.assert_allclose(compiled.run_gray8(pixels), logits, atol=1e-4 * float(logits.abs().max()))
    wide = np.zeros((33, 50), np.uint8)
    wide[:, :41] = pixels
    np.testing.assert_array_equal(compiled.run_gray8(wide[:, :41]), compiled.run_gray8(pixels))
    with pytest.raises(ValueError, match=r"the network takes uint8 \(33, 41, 1\)"):
        compiled.run_rgb8(np.zeros((33, 41, 3), np.uint8))


def test_no_main_is_said_where_nobody_knows_the_pictures(net, tmp_path):
    onnx.save(to_onnx(Exportable(net, SIZE)), tmp_path / "model.onnx")
    assert "no main.c" in " ".join(run(tmp_path / "model.onnx", "-o", tmp_path / "c").stdout.split())


@pytest.mark.parametrize("target", TARGETS)
def test_it_builds_for_every_target(checkpoint, tmp_path, target):
    output = run(checkpoint, "-o", tmp_path, "--name", "tiny", "--build", target).stdout
    (library,) = tmp_path.glob(f"tiny-{target}.*")
    assert library.name in "".join(output.split())
    assert library.read_bytes()[:4] == (b"\0asm" if target.startswith("wasm") else b"\x7fELF")


def test_an_onnx_file_of_another_size(net, tmp_path):
    onnx.save(to_onnx(Exportable(net, (33, 41))), tmp_path / "model.onnx")
    record = json.loads(
        run(tmp_path / "model.onnx", "-o", tmp_path / "c", "--dump", tmp_path / "stages", "--json").stdout
    )
    # Without preprocessing, no main.c.
    assert {Path(path).name for path in record["files"]} == {"model.c", "model.h", "threads.h"}
    assert "#define MODEL_INPUT_WIDTH 41" in (tmp_path / "c" / "model.h").read_text()
    assert len(list((tmp_path / "stages").iterdir())) > 3


def test_another_size(checkpoint, tmp_path):
    run(checkpoint, "-o", tmp_path, "--name", "tiny", "--size", "32x56")
    assert "#define TINY_INPUT_HEIGHT 32" in (tmp_path / "tiny.h").read_text()


def test_files_that_are_there_are_kept(checkpoint, tmp_path):
    for number, name in enumerate(("main.c", "tiny-native.so")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UserError, match=f"{name} is there already; give --overwrite"):
            run(checkpoint, "-o", folder, "--name", "tiny", "--build", "native")
        assert files(folder) == {name: b"mine"}
        run(checkpoint, "-o", folder, "--name", "tiny", "--build", "native", "--overwrite")
        assert files(folder)[name] != b"mine"


def test_an_unknown_target_is_refused_before_anything_is_written(checkpoint, tmp_path):
    with pytest.raises(CompileError, match="there is no target 'pdp11'; choose one of native, "):
        run(checkpoint, "-o", tmp_path / "out", "--build", "pdp11")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "difference"), [("--weights", 5e-3), ("--element", 1e-2)])
def test_half_precision_halves_the_weights_and_says_what_it_costs(checkpoint, tmp_path, option, difference):
    usual = json.loads(run(checkpoint, "-o", tmp_path / "usual", "--json").output)
    found = json.loads(run(checkpoint, "-o", tmp_path / "half", option, "float16", "--json").output)
    assert found["weights_bytes"] < 0.51 * usual["weights_bytes"]
    assert 0 < found["float16_difference"] < difference
    assert "float16_difference" not in usual
    assert "float16" in (tmp_path / "half" / "main.c").read_text()


def test_pictures_of_a_data_set_are_tried_in_half_precision(checkpoint, tmp_path):
    done = run(checkpoint, "-o", tmp_path / "half", "--element", "float16", "--calibration", "fashion-mnist-7k")
    assert "on 8 pictures" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--element", "bfloat16"), "--element bfloat16 is unknown; choose float32 or float16"),
        (("--weights", "int8"), "--weights int8 is unknown; choose float32 or float16"),
        (("--calibration", "fashion-mnist-7k"), "--calibration is for float16"),
        (("--element", "float16", "--weights", "float32"), "float16 networks have float16 weights"),
    ],
)
def test_options_that_contradict_are_refused(checkpoint, tmp_path, options, reason):
    with pytest.raises(UserError, match=reason):
        run(checkpoint, "-o", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
