"""Training through the loop that trains classifiers: it learns, it resumes, processes share the work."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from shufflenet.data import open_dataset
from shufflenet.detection import load_detector, open_split, recipes_for, train_detector
from shufflenet.detection.recipe import check_recipe
from shufflenet.detection.scenes import make_scenes
from shufflenet.errors import UserError
from shufflenet.training.recipe import override

QUICK = override(
    recipes_for("fpn")["scratch"],
    {
        "batch_size": 8,
        "learning_rate": 0.05,
        "learning_rate_batch_size": None,
        "warmup_iterations": 20,
        "workers": 0,
        "evaluate_epochs": 1e6,
        "augmentation": {"flip": 0.0},
    },
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "scenes"
    make_scenes(folder, partial(open_dataset, "fashion-mnist-7k"), train=8, test=2, size=96)
    return folder


@pytest.fixture
def detector_for(make_detector):
    def make(annotations):
        return make_detector([category.name for category in annotations.categories], short_side=96)

    return make


@pytest.mark.long
def test_eight_scenes_are_learned_by_heart(scenes, detector_for, tmp_path):
    annotations = open_split(scenes, "train")
    recipe = replace(QUICK, iterations=400, learning_rate=0.03, gradient_clip=3.0)
    training = train_detector(
        detector_for(annotations), recipe, annotations, annotations, tmp_path / "run", dataset="scenes", trackers=()
    )
    assert training.finished
    assert training.scores.average_precision > 0.9
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["average_precision"] == training.scores.average_precision
    assert (record["dataset"], record["variant"], record["short_side"]) == ("scenes", "shufflenet_x0_25_g3", 96)
    assert load_detector(tmp_path / "run").training_record["iterations"] == 400


def test_a_run_that_was_stopped_ends_as_one_that_was_not(scenes, detector_for, tmp_path):
    annotations, test_set = open_split(scenes, "train"), open_split(scenes, "test")
    recipe = replace(
        QUICK, iterations=4, batch_size=4, augmentation=replace(QUICK.augmentation, flip=0.5), checkpoint_iterations=1
    )

    class Stopper:
        def logged(self, progress, figures):
            if progress.iteration == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        def evaluated(self, progress, figures): ...

    def run(folder, **options):
        detector = detector_for(annotations)
        return train_detector(detector, recipe, annotations, test_set, tmp_path / folder, trackers=(), **options)

    straight = run("straight")
    stopped = run("stopped", observers=(Stopper(),))
    assert not stopped.finished
    assert stopped.scores is None
    with pytest.raises(UserError, match="holds a run already"):
        run("stopped")
    resumed = run("stopped", resume=True)
    assert resumed.finished
    for name, tensor in straight.detector.state_dict().items():
        torch.testing.assert_close(resumed.detector.state_dict()[name], tensor, rtol=0, atol=0, msg=name)
    again = run("stopped", resume=True)  # nothing is left to do but to evaluate
    assert again.scores == resumed.scores


def test_frozen_batch_norm_keeps_its_statistics(scenes, detector_for, tmp_path):
    annotations = open_split(scenes, "train")
    detector = detector_for(annotations)
    before = {name: buffer.clone() for name, buffer in detector.named_buffers()}
    recipe = replace(QUICK, iterations=1, batch_size=2, freeze_batch_norm=True, sync_batch_norm=False)
    train_detector(detector, recipe, annotations, open_split(scenes, "test"), tmp_path / "run", trackers=())
    for name, buffer in detector.named_buffers():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0)


def test_what_only_classifiers_train_with_is_refused():
    for field, value in (
        ("mixup", 0.2),
        ("label_smoothing", 0.1),
        ("bn_reestimation_iterations", 5),
        ("max_broken_share", 0.5),
    ):
        with pytest.raises(UserError, match=field):
            check_recipe(replace(QUICK, **{field: value}))
    with pytest.raises(UserError, match=r"varied by augmentation\.flip"):
        check_recipe(override(QUICK, {"augmentation": {"erase": 0.5}}))


def test_test_sets_that_measure_nothing(read, box, make_detector, tmp_path):
    train = partial(train_detector, make_detector(), QUICK, read([box()]), folder=tmp_path / "run")
    with pytest.raises(UserError, match="no object to find"):
        train(read([box(iscrowd=1)]))
    with pytest.raises(UserError, match="category 'plate', which the detector does not know"):
        train(read([], categories=[{"id": 1, "name": "plate"}]))


TWO_PROCESSES = """
import json, sys
import torch
torch.set_num_threads(1)
from accelerate import PartialState
from shufflenet.detection import evaluate, load_detector, open_split, recipes_for, train_detector
from shufflenet.training.recipe import override
detector_folder, scenes, output, settings = sys.argv[1:]
state = PartialState(cpu=True)
detector = load_detector(detector_folder)
scores = evaluate(detector, open_split(scenes, "train"))
recipe = override(recipes_for("fpn")["scratch"], json.loads(settings))
from pathlib import Path
training = train_detector(detector, recipe, open_split(scenes, "train"), open_split(scenes, "test"), output, trackers=())
if state.is_main_process:
    Path(output, "scores.json").write_text(json.dumps(scores.categories))
"""


def test_two_processes_see_every_picture_once_and_learn_as_one(scenes, detector_for, tmp_path):
    from shufflenet.detection import evaluate, save_detector

    annotations = open_split(scenes, "train")
    detector = detector_for(annotations)
    save_detector(detector, tmp_path / "detector")
    settings = {
        "iterations": 1,
        "batch_size": 4,
        "workers": 0,
        "learning_rate": 0.001,
        "learning_rate_batch_size": None,
        "augmentation": {"flip": 0.0},
    }
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = (
        str(tmp_path / "two.py"),
        str(tmp_path / "detector"),
        str(scenes),
        str(tmp_path / "run"),
        json.dumps(settings),
    )
    done = subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, env={**os.environ, "ACCELERATE_USE_CPU": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = evaluate(load_detector(tmp_path / "detector"), annotations)
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == pytest.approx(expected.categories, nan_ok=True)
    # The backbone's BN saw the four pictures of both processes' batches, as it does in one process.
    alone = train_detector(
        load_detector(tmp_path / "detector"),
        override(recipes_for("fpn")["scratch"], settings),
        annotations,
        open_split(scenes, "test"),
        tmp_path / "alone",
        trackers=(),
    )
    together = load_detector(tmp_path / "run").state_dict()
    for name, tensor in alone.detector.state_dict().items():
        if "running_" in name:
            torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
