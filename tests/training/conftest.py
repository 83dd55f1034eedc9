"""A network of a few hundred weights, a few hundred real pictures, and processes that are quick to start and to kill."""

import multiprocessing
import runpy
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from shufflenet.checkpoints import Metadata
from shufflenet.data import ArrayDataset, open_dataset
from shufflenet.nets import create
from shufflenet.training import read_recipe

# Forked from a server that has the imports behind it: a child is at work after some tens of milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["shufflenet.training.train", "torch.distributed.nn.functional"])

RUN_SCRIPT = Path(__file__).with_name("run_script.py")


def first_pictures(split, count):
    dataset = open_dataset("fashion-mnist-7k", split)
    return ArrayDataset(dataset.images[:count], dataset.labels[:count], dataset.classes, dataset.preprocessing)


@pytest.fixture(scope="session")
def training_set():
    return first_pictures("train", 256)


@pytest.fixture(scope="session")
def test_set():
    return first_pictures("test", 101)


@pytest.fixture
def make_net(training_set):
    """A new network: the same weights at every call."""

    def make(**overrides):
        widths = {"stage_channels": (16, 32, 64), "stem_channels": 4, "stage_repeats": (1, 1, 1)}
        torch.manual_seed(0)
        net = create("shufflenet_x0_25_g1", num_classes=10, in_channels=1, stem="small", **(widths | overrides))
        net.metadata = Metadata(training_set.preprocessing, training_set.classes)
        return net

    return make


@pytest.fixture
def make_recipe():
    """A recipe of 12 iterations, 8 to an epoch, with overrides."""

    def make(**overrides):
        values = {"iterations": 12, "batch_size": 32, "warmup_iterations": 2, "log_iterations": 2}
        return read_recipe("quickstart", values | overrides)

    return make


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    # Accelerate keeps one state a process and refuses another precision after the first.
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    PartialState._reset_state()


@pytest.fixture
def start_run():
    """Start `train` in a process of its own: run_script.py, with these names set."""
    started = []

    def start(**names):
        process = PROCESSES.Process(target=runpy.run_path, args=(str(RUN_SCRIPT),), kwargs={"init_globals": names})
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
