"""What int8 costs in accuracy: float32, post-training and quantization-aware error of three networks on two data sets.

    python experiments/int8.py train fashion-mnist shufflenet_x0_5_g3_se
    python experiments/int8.py train CIFAR10_FOLDER shufflenet_x0_25_g8
    python experiments/int8.py compile fashion-mnist fashion-mnist/shufflenet_x0_5_g3
    python experiments/int8.py distance CIFAR10_FOLDER runs/int8/cifar10/shufflenet_x0_25_g8
    python experiments/int8.py measure fashion-mnist fashion-mnist/shufflenet_x0_5_g3 fashion-mnist/shufflenet_x0_25_g8
    python experiments/int8.py measure CIFAR10_FOLDER runs/int8/cifar10/shufflenet_x0_25_g8 learning_rate=0.001

CIFAR10_FOLDER holds train/ and test/ with a folder of 32×32 pictures for each class. Runs go to runs/int8/DATA/NETWORK and are resumed.
`compile` quantizes networks without fine-tuning, tests float32 and integers as C, which takes seconds, and writes
experiments/results/int8/DATA/NETWORK.compiled.json. `distance` judges methods without the test part: it prints how far the integers'
probabilities are from float32's on other training pictures than calibrate, in nats, for several choices of these.

`measure` quantizes networks, fine-tunes each for `ITERATIONS` iterations, and writes experiments/results/int8/DATA/NETWORK.json;
arguments with a = change the recipe of fine-tuning. "compiled_top1_error" is that of the C, which rounds a sum once where the file
says twice.
"""

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import kl_div
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import pil_to_tensor

from shufflenet.atomic import write_text
from shufflenet.checkpoints import Preprocessing, load
from shufflenet.data import ArrayDataset, PictureDataset, open_dataset, prepare
from shufflenet.data.open import Split
from shufflenet.deploy.compile import compile
from shufflenet.nets import Network
from shufflenet.quantization import CALIBRATIONS, Method, calibrated, quantize, quantize_and_test
from shufflenet.quantization.post_training import CalibrationInputs
from shufflenet.training import read_recipe, train
from shufflenet.training.environment import environment
from shufflenet.training.recipe import merge, parse_setting

RUNS = Path("runs/int8")
RESULTS = Path(__file__).parent / "results" / "int8"
ITERATIONS = 150
BATCH_SIZE = 100
HELD_OUT = 1000
SEEDS = 3
# The mean and deviation of CIFAR-10's 50,000 training pictures.
CIFAR10 = Preprocessing((32, 32), short_side=None, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))


def pictures(data: str, split: Split) -> PictureDataset:
    """Fashion-MNIST as it is; CIFAR-10's files read into memory once, which trains several times faster than file by file."""
    dataset = open_dataset(data, split)
    if isinstance(dataset, ArrayDataset):
        return dataset
    images = torch.stack([pil_to_tensor(dataset[i][0]) for i in range(len(dataset))])
    return ArrayDataset(images, np.asarray(dataset.labels), dataset.classes, CIFAR10)


def train_float(data: str, variant: str) -> None:
    recipe = read_recipe(Path(__file__).with_name("int8.yaml"))
    folder = RUNS / Path(data).name / variant
    sets = pictures(data, "train"), pictures(data, "test")
    train(recipe, *sets, variant, folder, stem="small", resume=True, console=Console())


def measure(data: str, *arguments: str) -> None:
    settings = [argument for argument in arguments if "=" in argument]
    aware = merge({"iterations": ITERATIONS, "workers": 0}, *map(parse_setting, settings))
    sets = pictures(data, "train"), pictures(data, "test")
    for network in arguments:
        if network in settings:
            continue
        net = load(network)
        name, variant = Path(data).name, net.spec["name"]
        folder = RUNS / name / f"{variant}_int8"
        record = quantize_and_test(net, *sets, folder, aware=aware, resume=True, console=Console())
        assert record is not None
        record["compiled_top1_error"] = compiled_error(load(folder), sets[1])
        described = {"network": variant, "data": name, "date": date.today().isoformat(), "environment": environment()}
        write_text(RESULTS / name / f"{variant}.json", json.dumps({**described, **record}, indent=2) + "\n")


def compile_and_test(data: str, *networks: str) -> None:
    training_set, test_set = open_dataset(data, "train"), open_dataset(data, "test")
    for network in networks:
        net = load(network)
        int8 = quantize(net, training_set)
        errors = {"float32": compiled_error(net, test_set), "post_training": compiled_error(int8, test_set)}
        name, variant = Path(data).name, net.spec["name"]
        print(f"{name} {variant}: {errors}", flush=True)
        described = {"network": variant, "data": name, "date": date.today().isoformat(), "environment": environment()}
        record = {**described, **Method().record(len(training_set)), "compiled_top1_error": errors}
        write_text(RESULTS / name / f"{variant}.compiled.json", json.dumps(record, indent=2) + "\n")


@torch.no_grad()
def distance(data: str, *networks: str) -> None:
    training_set = open_dataset(data, "train")
    for network in networks:
        net = load(network)
        held_out = torch.cat(list(CalibrationInputs(training_set, net, HELD_OUT, seed=99))).split(BATCH_SIZE)
        wanted = torch.cat([net(x).log_softmax(1) for x in held_out])
        for seed in range(SEEDS):
            for calibration in CALIBRATIONS:
                int8 = calibrated(net, training_set, Method(calibration=calibration, seed=seed))
                found = torch.cat([int8(x).log_softmax(1) for x in held_out])
                nats = kl_div(found, wanted, log_target=True, reduction="batchmean")
                print(f"{net.spec['name']} seed {seed} {calibration}: {float(nats):.5f} nats", flush=True)


def compiled_error(net: Network, test_set: PictureDataset) -> float:
    """In %, of the network as C."""
    run, inputs = compile(net), prepare(test_set, net.metadata.preprocessing)
    wrong = sum(
        int(np.argmax(run(image.numpy()))) != int(label)
        for images, labels in DataLoader(inputs, BATCH_SIZE)
        for image, label in zip(images, labels, strict=True)
    )
    return 100 * wrong / len(test_set)


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    {"train": train_float, "compile": compile_and_test, "distance": distance, "measure": measure}[verb](*arguments)
