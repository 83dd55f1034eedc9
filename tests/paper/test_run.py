"""The runs of a table: killed half-way and resumed, skipped when done, one recipe for all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shufflenet.errors import UserError
from shufflenet.paper.results import read_results
from shufflenet.paper.run import Experiment, read_record, rows_of, run_here, run_jobs, select_rows, write_run
from shufflenet.paper.tables import table

ROWS = ("shufflenet_x0_25_g1", "resnet_like_13m")
RECIPE = """
recipe: quickstart
epochs: 1
batch_size: 50
learning_rate: 0.05
warmup_iterations: 0
workers: 0
checkpoint_iterations: 1
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """200 training and 50 test pictures of the bundled set, as class folders."""
    from shufflenet.data import open_dataset

    root = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 200), ("test", 50)):
        dataset = open_dataset("fashion-mnist-7k", split)
        for index in range(count):
            picture, label = dataset[index]
            folder = root / split / dataset.classes[label].replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{index}.png")
    return root


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    return Experiment(recipe, "fashion-mnist-7k", "small", tmp_path / "results", tmp_path / "runs")


def paper_run(experiment: Experiment, data: Path) -> list[str]:
    options = {
        "--data": data,
        "--recipe": experiment.recipe_file,
        "--stem": "small",
        "--seeds": 1,
        "--results": experiment.results,
        "--runs": experiment.runs,
    }
    words = [str(word) for pair in options.items() for word in pair]
    rows = [word for row in ROWS for word in ("--rows", row)]
    start = "from shufflenet.cli import main; main()"
    return [sys.executable, "-c", start, "paper", "run", "table4", *words, *rows, "--json"]


def test_a_run_that_is_killed_half_way_goes_on_and_ends_the_same(experiment, pictures, tmp_path):
    """Two rows, one epoch, 200 pictures: SIGKILL in the first row, then the same command again, against one that was left alone."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = paper_run(experiment, pictures)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not any(experiment.runs.rglob("iteration-*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not all(experiment.result_file(row).exists() for row in ROWS)

    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    records = json.loads(again.stdout)
    assert [record["variant"] for record in records] == list(ROWS)
    assert all(record["training_pictures"] == 200 and record["test_pictures"] == 50 for record in records)

    alone = Experiment(
        experiment.recipe_file, str(pictures), "small", tmp_path / "other results", tmp_path / "other runs"
    )
    assert run_here(alone, ROWS, [0], lambda _: None)
    for row, record in zip(ROWS, records, strict=True):
        uninterrupted = read_record(alone, row)
        assert uninterrupted is not None
        assert uninterrupted["runs"][0]["top1_error"] == record["runs"][0]["top1_error"]
    measured = table(4, read_results(experiment.results)).to_json()["rows"]
    by_name = {row["network"]: row for row in measured if row["multiply-adds, printed"] == 13}
    assert by_name["ResNet"]["tiny error %, measured"]["mean"] == records[1]["top1_error"]["mean"]
    assert by_name["ResNeXt"]["tiny error %, measured"] is None


def made_up_run(seed: int, error: float) -> dict:
    return {"seed": seed, "top1_error": error, "images_per_second": 1.0}


def test_what_is_done_is_passed_over_and_a_row_keeps_all_its_seeds(experiment):
    for seed, error in ((1, 12.0), (0, 10.0), (1, 11.0)):
        write_run(experiment, {"variant": ROWS[0], **experiment.settings()}, made_up_run(seed, error))
    record = read_record(experiment, ROWS[0])
    assert record is not None
    assert [run["seed"] for run in record["runs"]] == [0, 1]
    assert record["top1_error"] == {"mean": 10.5, "deviation": pytest.approx(0.7071), "n": 2}
    said: list[str] = []
    assert run_here(experiment, ROWS[:1], [0, 1], said.append)
    assert said == [f"{ROWS[0]}, seed {seed}: done before" for seed in (0, 1)]
    assert not experiment.runs.exists()


def test_another_recipe_does_not_mix_into_a_mean(experiment):
    write_run(experiment, {"variant": ROWS[0], **experiment.settings()}, made_up_run(0, 10.0))
    folder = experiment.run_folder(ROWS[0], 0)
    experiment.recipe_file.write_text(RECIPE.replace("0.05", "0.1"))
    assert experiment.run_folder(ROWS[0], 0) != folder
    with pytest.raises(UserError, match="another recipe"):
        run_here(experiment, ROWS[:1], [1], lambda _: None)


def test_the_command_in_a_result_selects_its_row(experiment):
    command = experiment.command("shufflenet_x0_25_g8", 3)
    assert "--rows shufflenet_x0_25_g8 --seeds 3" in command
    assert f"--recipe {experiment.recipe_file}" in command


def test_rows_are_those_of_the_table_and_each_network_is_trained_once():
    assert len(rows_of(2)) == 15
    assert "shufflenet_x0_25_g1" in rows_of(4)
    assert not any(row.startswith("xception") for row in rows_of(4))
    assert {"shufflenet_x1_0_g3", "shufflenet_x1_0_g3_noshuffle"} <= set(rows_of(3))
    assert select_rows(4, ["*13m", "*x0_25*"]) == (
        "resnet_like_13m",
        "resnext_like_13m",
        "shufflenet_x0_25_g1",
        "shufflenet_x0_25_g8",
    )
    with pytest.raises(UserError, match="no row is called 'shufflenet'"):
        select_rows(2, ["shufflenet"])
    with pytest.raises(UserError, match="table 7"):
        rows_of(7)


def test_rows_spread_over_processes_by_submitit(experiment):
    """The local executor stands in for Slurm: a job a row, whose result file says what it says when run here."""
    experiment.recipe_file.write_text(RECIPE.replace("epochs: 1", "iterations: 2"))
    jobs = run_jobs(experiment, ROWS, [0], cluster="local", parameters={"timeout_min": 5})
    assert [job.result() for job in jobs] == [True, True]
    for row in ROWS:
        record = read_record(experiment, row)
        assert record is not None
        assert record["iterations"] == 2
    assert run_jobs(experiment, ROWS, [0], cluster="local", parameters={}) == []
