"""One process of a training run, for tests that kill it or have two of them. Its names come from `start_run`."""

import json
import os
import signal
import time

import torch

os.environ |= globals().get("environment", {})
torch.set_num_threads(1)

from shufflenet.checkpoints import Metadata  # noqa: E402
from shufflenet.data import ArrayDataset, open_dataset  # noqa: E402
from shufflenet.nets import create  # noqa: E402
from shufflenet.training import read_recipe, train  # noqa: E402


def pictures(split, count):
    dataset = open_dataset("fashion-mnist-7k", split)
    return ArrayDataset(dataset.images[:count], dataset.labels[:count], dataset.classes, dataset.preprocessing)


if globals().get("die_while_writing"):
    # SIGKILL when the checkpoint is written but not yet in its place.
    replace = os.replace
    os.replace = lambda source, target: (
        os.kill(os.getpid(), signal.SIGKILL) if str(target).endswith(".pt") else replace(source, target)
    )

training_set, test_set = pictures("train", 256), pictures("test", 101)
torch.manual_seed(0)
net = create(
    "shufflenet_x0_25_g1",
    num_classes=10,
    in_channels=1,
    stem="small",
    stage_channels=(16, 32, 64),
    stem_channels=4,
    stage_repeats=(1, 1, 1),
)
net.metadata = Metadata(training_set.preprocessing, training_set.classes)
if globals().get("evaluation_seconds"):
    # An evaluation that takes its time, by a batch that is slow to read.
    from shufflenet.data.array_inputs import ArrayInputs

    read = ArrayInputs.__getitems__

    def slowly(self, indices):
        if self.augmentation is None:
            with open(f"{folder}/evaluating", "w"):  # noqa: F821
                time.sleep(evaluation_seconds)  # noqa: F821
        return read(self, indices)

    ArrayInputs.__getitems__ = slowly
if globals().get("own_group"):
    os.setpgid(0, 0)

training = train(read_recipe("quickstart", recipe), training_set, test_set, net, folder, resume=True, trackers=())  # noqa: F821
if training.finished:
    rank = os.environ.get("RANK", "0")
    torch.save(training.net.state_dict(), f"{folder}/weights-{rank}.pt")  # noqa: F821
    with open(f"{folder}/evaluation-{rank}.json", "w") as file:  # noqa: F821
        json.dump(training.evaluation.to_json(), file)
