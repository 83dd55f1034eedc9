"""`shufflenet train`, `evaluate` and `quickstart`: from pictures to a folder and its figures, and what they say when they cannot."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import shufflenet
from shufflenet.cli import app
from shufflenet.errors import UserError

SHORT = ("--recipe", "quickstart", "--set", "epochs=null", "--set", "iterations=3", "--set", "batch_size=4")


def invoke(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run(*arguments):
    return invoke(*arguments).stdout


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Class folders, of red and of blue noise."""
    folder = tmp_path_factory.mktemp("data") / "flowers"
    random = np.random.default_rng(0)
    for channel, name in ((0, "rose"), (2, "violet")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 60, (40, 36, 3), np.uint8)
            pixels[..., channel] += 180
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(flowers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "flowers"
    run("train", flowers, "--variant", "shufflenet_x0_25_g8", "--stem", "small", *SHORT, "-o", folder)
    return folder


def test_a_run_folder_is_a_checkpoint_with_its_record(trained):
    record = json.loads((trained / "result.json").read_text())
    assert (record["iterations"], record["training_pictures"], record["variant"]) == (3, 18, "shufflenet_x0_25_g8")
    assert shufflenet.load(trained).metadata.classes == ("rose", "violet")
    assert (trained / "report.html").stat().st_size > 1000


def test_another_run_does_not_replace_it(trained, flowers):
    with pytest.raises(UserError, match="resume"):
        run("train", flowers, "--variant", "shufflenet_x0_25_g8", "--stem", "small", *SHORT, "-o", trained)


def test_training_starts_from_a_trained_network(trained, flowers, tmp_path):
    record = json.loads(run("train", flowers, "--from", trained, *SHORT, "-o", tmp_path / "run", "--json"))
    assert record["variant"] == "shufflenet_x0_25_g8"
    assert record["iterations"] == 3


def test_training_from_a_network_says_which_rows_of_its_classifier_stay(trained, flowers, tmp_path):
    more = tmp_path / "more"
    shutil.copytree(flowers, more)
    shutil.copytree(flowers / "rose", more / "aster")
    output = run("train", more, "--from", trained, *SHORT, "-o", tmp_path / "run")
    assert "keeps its rows of 2 of 3 classes (rose, violet); new ones for aster" in output
    assert "keeps its rows of all 2 classes" in run(
        "train", flowers, "--from", trained, *SHORT, "-o", tmp_path / "same"
    )


def test_evaluate_prints_what_it_counts(trained, flowers):
    output = run("evaluate", trained, flowers, "--per-class", "--confusion")
    assert "20 pictures: top-1 error" in output
    # Of two classes the label is always among the five likeliest.
    assert "top-5" not in output
    assert all(name in output for name in ("rose", "violet", "precision"))
    figures = json.loads(run("evaluate", trained, flowers, "--json"))
    assert figures["classes"] == ["rose", "violet"]
    assert figures["pictures"] == sum(map(sum, figures["confusion"])) == 20


def test_evaluate_refuses_classes_that_do_not_match(trained):
    with pytest.raises(UserError, match="does not know 10 of the data set's 10 classes"):
        run("evaluate", trained, "fashion-mnist-7k")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--variant", "shufflenet_x1_g3"), "shufflenet_x1_0_g3"),
        (("--recipe", "papr"), "papr"),
        (("--set", "learning_rat=1"), "learning_rat"),
        (("--set", "batch_size=0"), "batch_size is 0"),
    ],
)
def test_what_cannot_be_is_told_before_training(arguments, match, flowers, tmp_path):
    with pytest.raises((UserError, ValueError), match=match) as raised:
        run("train", flowers, *arguments, "-o", tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_small_pictures_need_no_flag_and_the_first_lines_say_what_happens(flowers, tmp_path):
    folder = tmp_path / "run"
    settings = ("--set", "batch_size=4", "--set", "iterations=3")
    result = invoke("train", flowers, "--variant", "shufflenet_x0_25_g8", *settings, "-o", folder)
    assert "taken at their own size, 40×36" in result.stderr
    assert "recipe scratch-small" in result.stderr
    assert "learns 2 classes from 18 pictures at 40×36: 3 iterations of 4" in " ".join(result.stdout.split())
    assert "to go, evaluations apart" in result.stdout
    net = shufflenet.load(folder)
    assert net.metadata.preprocessing.size == (40, 36)
    assert net.spec["stem"] == "small"


def test_the_size_is_kept_in_the_checkpoint(flowers, tmp_path):
    folder = tmp_path / "run"
    result = invoke("train", flowers, "--variant", "shufflenet_x0_25_g8", *SHORT, "--size", "96x128", "-o", folder)
    assert "pictures are enlarged 2.7 times to 96×128" in result.stderr
    assert shufflenet.load(folder).metadata.preprocessing.size == (96, 128)
    assert json.loads(run("evaluate", folder, flowers, "--json"))["pictures"] == 20


def test_quickstart_trains_shows_and_begins_anew(tmp_path):
    folder = tmp_path / "quickstart"
    output = run("quickstart", "-o", folder, "--set", "epochs=0.05")
    assert "of the 1,000 test pictures classified correctly" in output
    assert output.count("%") >= 18  # six pictures, three guesses each
    record = json.loads(run("quickstart", "-o", folder, "--set", "epochs=0.05", "--json"))
    assert record["training_pictures"] == 6000
    assert shufflenet.load(folder).metadata.classes[0] == "T-shirt/top"


def test_quickstart_removes_no_folder_of_yours(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a folder of `shufflenet quickstart`"):
        run("quickstart", "-o", tmp_path)
    assert (tmp_path / "thesis.txt").exists()
