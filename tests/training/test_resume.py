"""A run that was interrupted, anyhow and anywhere, ends bit for bit with the weights of one that was not."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from shufflenet.checkpoints import load
from shufflenet.data import ArrayDataset
from shufflenet.errors import UserError
from shufflenet.training import train
from shufflenet.training.checkpoint_files import list_checkpoints, read_checkpoint, write_checkpoint

KILLS = 20
# Everything with a state of its own is on; most of the time goes into checkpoints, so many kills meet one half written.
RECIPE = {
    "iterations": 100,
    "batch_size": 32,
    "warmup_iterations": 5,
    "log_iterations": 1,
    "checkpoint_iterations": 1,
    "mixup": 0.2,
    "cutmix": 0.2,
    "ema_decay": 0.9,
    "evaluate_epochs": 2,
    "keep_checkpoints": 2,
    "augmentation": {"padding": 2, "flip": 0.5, "color_jitter": 0, "lighting": 0, "erase": 0.25},
    "bn_reestimation_iterations": 2,
}


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def finish(process):
    process.join(120)
    assert process.exitcode == 0


def test_killed_twenty_times_it_ends_with_the_same_weights(start_run, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    began = time.monotonic()
    finish(start_run(recipe=RECIPE, folder=str(whole)))
    seconds = time.monotonic() - began
    rng = random.Random(0)
    kills, iterations = 0, set()
    while kills < KILLS:
        process = start_run(recipe=RECIPE, folder=str(parts))
        # One to three checkpoints further, and a random moment on top, which may be that of the next one's writing.
        deadline = time.monotonic() + 60
        for _ in range(rng.randint(1, 3)):
            reached = list_checkpoints(parts / "checkpoints")
            while (
                list_checkpoints(parts / "checkpoints") == reached
                and process.is_alive()
                and time.monotonic() < deadline
            ):
                time.sleep(0.002)
        time.sleep(rng.random() * seconds / KILLS / 4)
        if not process.is_alive():
            break
        process.kill()
        process.join()
        kills += 1
        iterations |= {path.name for path in list_checkpoints(parts / "checkpoints")}
    assert kills == KILLS, f"the run ended after {kills} kills; make it longer"
    assert len(iterations) > KILLS  # it came on from kill to kill
    finish(start_run(recipe=RECIPE, folder=str(parts)))
    assert same_weights(torch.load(whole / "weights-0.pt"), torch.load(parts / "weights-0.pt"))


def test_killed_before_the_checkpoint_is_in_place_the_one_before_is_intact(start_run, tmp_path):
    recipe = {**RECIPE, "iterations": 6}
    stopped = start_run(recipe=recipe, folder=str(tmp_path / "parts"), die_while_writing=True)
    stopped.join(60)
    assert stopped.exitcode == -signal.SIGKILL
    assert list_checkpoints(tmp_path / "parts" / "checkpoints") == []
    finish(start_run(recipe=recipe, folder=str(tmp_path / "whole")))
    finish(start_run(recipe=recipe, folder=str(tmp_path / "parts")))
    weights = [torch.load(tmp_path / name / "weights-0.pt") for name in ("whole", "parts")]
    assert same_weights(*weights)


def test_sigterm_writes_a_checkpoint_and_ends_well(start_run, tmp_path):
    recipe = {**RECIPE, "iterations": 4000, "checkpoint_iterations": 1000, "evaluate_epochs": 1000}
    process = start_run(recipe=recipe, folder=str(tmp_path))
    deadline = time.monotonic() + 60
    while not (tmp_path / "recipe.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 0
    assert len(list_checkpoints(tmp_path / "checkpoints")) == 1
    assert not (tmp_path / "result.json").exists()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_sigterm_to_the_whole_group_writes_a_checkpoint_and_ends_well(start_run, tmp_path):
    """As a cluster, `timeout` and a terminal send it: the processes that read pictures get it too."""
    recipe = {**RECIPE, "iterations": 4000, "checkpoint_iterations": 5, "evaluate_epochs": 1000, "workers": 2}
    process = start_run(recipe=recipe, folder=str(tmp_path), own_group=True)
    wait_for(lambda: list_checkpoints(tmp_path / "checkpoints"))
    before = list_checkpoints(tmp_path / "checkpoints")[-1]
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert children
    os.killpg(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 0
    assert list_checkpoints(tmp_path / "checkpoints")[-1].name >= before.name
    assert not (tmp_path / "result.json").exists()
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_sigterm_in_an_evaluation_finds_the_checkpoint_and_ends_at_once(start_run, tmp_path):
    recipe = {**RECIPE, "iterations": 12, "checkpoint_iterations": 1000, "evaluate_epochs": 1}
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start_run(recipe=recipe, folder=str(stopped), evaluation_seconds=50)
    wait_for((stopped / "evaluating").exists)
    assert [path.name for path in list_checkpoints(stopped / "checkpoints")] == ["iteration-000000008.pt"]
    os.kill(process.pid, signal.SIGTERM)
    process.join(20)
    assert process.exitcode == 0
    # What was broken off is made up for: the resumed run has the evaluations and weights of a whole one.
    finish(start_run(recipe=recipe, folder=str(stopped)))
    finish(start_run(recipe=recipe, folder=str(whole)))
    assert same_weights(torch.load(whole / "weights-0.pt"), torch.load(stopped / "weights-0.pt"))
    ends = [read_checkpoint(list_checkpoints(folder / "checkpoints")[-1]) for folder in (whole, stopped)]
    assert ends[0]["progress"]["evaluations"] == ends[1]["progress"]["evaluations"] != []


def test_other_classes_are_refused_by_name(make_recipe, training_set, test_set, tmp_path):
    def run(classes):
        datasets = [
            ArrayDataset(part.images, part.labels % 3, classes, part.preprocessing) for part in (training_set, test_set)
        ]
        train(
            make_recipe(iterations=1),
            *datasets,
            "shufflenet_x0_25_g8",
            tmp_path,
            stem="small",
            trackers=(),
            resume=True,
        )

    run(("cat", "cow", "dog"))
    with pytest.raises(
        UserError, match="was begun with other classes: dog is gone, kitten is new; resume it with the classes"
    ):
        run(("cat", "cow", "kitten"))
    with pytest.raises(UserError, match="was begun with other classes: eel is new"):
        run(("cat", "cow", "dog", "eel"))
    with pytest.raises(UserError, match="they stand in another order"):
        run(("dog", "cow", "cat"))


def test_stopped_and_resumed_in_one_process(make_net, make_recipe, training_set, test_set, tmp_path):
    class Stop:
        def logged(self, progress, figures):
            if progress.iteration == 6:
                os.kill(os.getpid(), signal.SIGTERM)

        def evaluated(self, progress, figures): ...

    recipe = make_recipe()
    whole = train(recipe, training_set, test_set, make_net(), tmp_path / "whole", trackers=())
    part = train(recipe, training_set, test_set, make_net(), tmp_path / "parts", trackers=(), observers=(Stop(),))
    assert not part.finished
    assert part.evaluation is None
    parts = train(recipe, training_set, test_set, make_net(), tmp_path / "parts", trackers=(), resume=True)
    assert parts.finished
    assert same_weights(whole.net.state_dict(), parts.net.state_dict())
    assert same_weights(whole.net.state_dict(), load(tmp_path / "parts").state_dict())
    again = train(recipe, training_set, test_set, make_net(), tmp_path / "parts", trackers=(), resume=True)
    assert again.evaluation.top1_error == whole.evaluation.top1_error


def test_a_full_disk_leaves_the_checkpoint_before_intact(tmp_path, monkeypatch):
    first = write_checkpoint(tmp_path, 1, {"a": torch.ones(3)}, keep=2)
    before = first.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        UserError, match=r"iteration-000000002.pt cannot be written .*No space left.*iteration-000000001.pt is intact"
    ):
        write_checkpoint(tmp_path, 2, {"a": torch.ones(3)}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert first.read_bytes() == before


def test_the_last_few_checkpoints_are_kept(tmp_path):
    for iteration in (5, 10, 15, 20):
        write_checkpoint(tmp_path, iteration, {}, keep=3)
    assert [path.name[-6:-3] for path in list_checkpoints(tmp_path)] == ["010", "015", "020"]


def test_where_nothing_can_be_written_it_says_so_before_training(
    make_net, make_recipe, training_set, test_set, tmp_path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"run folder .*file/run/checkpoints cannot be written"):
        train(make_recipe(), training_set, test_set, make_net(), tmp_path / "file" / "run", trackers=())


def test_too_little_room_is_said_before_training(make_net, make_recipe, training_set, test_set, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(UserError, match="has 0 MiB free and the run's checkpoints need"):
        train(make_recipe(), training_set, test_set, make_net(), tmp_path / "run", trackers=())


def test_another_run_is_neither_overwritten_nor_taken_up(make_net, make_recipe, training_set, test_set, tmp_path):
    train(make_recipe(), training_set, test_set, make_net(), tmp_path, trackers=())
    with pytest.raises(UserError, match="holds a run already"):
        train(make_recipe(), training_set, test_set, make_net(), tmp_path, trackers=())
    other = make_recipe(learning_rate=0.01)
    with pytest.raises(UserError, match="begun with another learning_rate"):
        train(other, training_set, test_set, make_net(), tmp_path, trackers=(), resume=True)
