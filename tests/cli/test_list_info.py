"""The verbs that show networks, and how the command line reports errors."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from shufflenet.cli import VERBS, app
from shufflenet.cli.options import parse_size
from shufflenet.errors import UserError

COMMAND = [sys.executable, "-c", "from shufflenet.cli import main; main()"]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "160"})


def test_info_prints_the_column_of_table_1():
    output = run("info", "shufflenet_x1_0_g3").output
    for words in (
        ["stem", "112×112", "24", "2", "1"],
        ["stage2", "28×28", "240", "1", "3"],
        ["stage3", "14×14", "480", "1", "7"],
    ):
        assert any(line.split()[:5] == words for line in output.splitlines()), words
    assert "137.5M multiply-adds, 1,865,728 parameters" in output
    assert "the paper prints 137M at 32.6% top-1 error" in output


def test_info_as_json_adds_up_at_any_size():
    data = json.loads(run("info", "mobilenet_x0_5", "--size", "97x131", "--json").output)
    assert data["spec"]["name"] == "mobilenet_x0_5"
    assert data["size"] == [97, 131]
    assert sum(layer["multiply_adds"] for layer in data["layers"]) == data["multiply_adds"]


def test_list_shows_what_matches():
    rows = json.loads(run("list", "xception", "--json").output)
    assert [row["name"] for row in rows] == ["xception_like_140m", "xception_like_38m", "xception_like_13m"]
    assert rows[0]["printed_top1_error_percent"] == 33.6
    assert "xception_like_38m" in run("list", "xception").output


def test_list_shows_the_trained_networks_that_ship():
    (row,) = json.loads(run("list", "x0_25_g8", "--json").output)[:1]
    assert next(trained["name"] for trained in row["trained"]) == "fashion-mnist/shufflenet_x0_25_g8"
    assert "fashion-mnist/shufflenet_x0_5_g3" in run("list").output
    assert "flowers/shufflenet_x0_5_g3" in run("list", "flowers").output
    with pytest.raises(UserError, match="no network's name contains 'x9'"):
        run("list", "x9")


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("480x640", (480, 640)), ("97×131", (97, 131))])
def test_sizes_are_height_first(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "12x0", "x", "1x2x3", "-4"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserError, match="is no picture size"):
        parse_size(text)


def test_an_error_is_one_sentence_and_status_2_and_a_traceback_only_with_debug():
    plain = subprocess.run([*COMMAND, "info", "shufflenet_x9"], capture_output=True, text=True)
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert plain.stderr.startswith("error: there is no folder, variant or shipped network 'shufflenet_x9'")
    assert len(plain.stderr.splitlines()) == 1
    debug = subprocess.run([*COMMAND, "info", "shufflenet_x9", "--debug"], capture_output=True, text=True)
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb):
    output = run(verb, "--help").output
    assert "Examples" in output or "Commands" in output
