"""Make a checkpoint that ships with the package from a training run: half-precision weights, with what that costs in its config.json.

    python experiments/ship.py RUN_FOLDER fashion-mnist/shufflenet_x0_25_g8 [NOTE [DATA]]

    python experiments/ship.py int8 fashion-mnist/shufflenet_x0_5_g3

The second form quantizes a checkpoint that ships and writes NAME_int8 beside it, if that costs no more than 0.3 points.

DATA is where the data set lies, if the first part of the name is not what `open_dataset` calls it.

Rounding moves the maps a little, so batch normalization's statistics are taken anew at the rounded weights, over training data.

RUN_FOLDER is what `shufflenet train` wrote, or its folder best/. NOTE goes into config.json. Both precisions are tested on the full data
set's test pictures; if half precision is wrong on more of them than full precision, nothing is written.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from torch.utils.data import DataLoader

from shufflenet import checkpoints, pretrained
from shufflenet.data import open_dataset, prepare
from shufflenet.nets import Network
from shufflenet.quantization import quantize
from shufflenet.training import evaluate
from shufflenet.training.averaging import reestimate_batch_norm

LARGEST_BYTES = 2_000_000
LARGEST_INT8_COST = 0.3  # points of error
BATCH_SIZE = 128  # for batch normalization's statistics


def recipe_of(run: Path) -> dict[str, Any]:
    """The recipe of a run that ended before it wrote its record."""
    found = [folder / "recipe.yaml" for folder in (run, run.parent) if (folder / "recipe.yaml").exists()]
    return {"recipe": yaml.safe_load(found[0].read_text(encoding="utf-8"))} if found else {}


def in_half_precision(net: Network, data: str) -> Network:
    """As it will be loaded: `net` rounded, with statistics of its own."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        half = checkpoints.load(checkpoints.save(net, Path(folder) / "rounded", dtype="float16"))
        inputs = prepare(open_dataset(data, "train"), half.metadata.preprocessing)
        loader = DataLoader(inputs, BATCH_SIZE, shuffle=True, drop_last=True)
        with torch.no_grad():
            reestimate_batch_norm(half, (images for images, _ in loader), Accelerator())
        return checkpoints.load(checkpoints.save(half, Path(folder) / "half", dtype="float16"))


def main(run: str, name: str, note: str = "", place: str = "") -> None:
    data = name.partition("/")[0]
    place = place or data
    test_set = open_dataset(place, "test")
    net = checkpoints.load(run)
    full = evaluate(net, test_set)
    net = in_half_precision(net, place)
    half = evaluate(net, test_set)
    print(f"{full.top1_error:.2f}% wrong of {full.pictures} in float32, {half.top1_error:.2f}% in float16")
    if half.top1_error > full.top1_error:
        sys.exit("float16 costs accuracy here: keep float32, if that is small enough")
    training = {
        **recipe_of(Path(run)),
        **net.metadata.training,
        **({"note": note} if note else {}),
        "dataset": data,
        "test_pictures": half.pictures,
        "top1_error": half.top1_error,
        "top1_error_float32": full.top1_error,
        "top5_error": half.top5_error,
        "loss": half.loss,
        "license": "mit",
    }
    net.metadata = replace(net.metadata, training=training)
    folder = checkpoints.save(net, pretrained.FOLDER / name, overwrite=True, dtype="float16")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size} bytes")
    if size > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES}: too large to ship")


def ship_integers(name: str) -> None:
    net = checkpoints.load(name)
    data = name.partition("/")[0]
    quantized = quantize(net, data)
    found = evaluate(quantized, open_dataset(data, "test"))
    before = net.metadata.training["top1_error"]
    print(f"{before:.2f}% wrong in float, {found.top1_error:.2f}% in int8")
    if found.top1_error > before + LARGEST_INT8_COST:
        sys.exit("that costs too much: fine-tune it (shufflenet quantize --qat)")
    errors = {"top1_error": found.top1_error, "top5_error": found.top5_error, "loss": found.loss}
    quantized.metadata = replace(net.metadata, training={**net.metadata.training, **errors, "top1_error_float": before})
    folder = checkpoints.save(quantized, pretrained.FOLDER / f"{name}_int8", overwrite=True)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir())} bytes")


if __name__ == "__main__":
    ship_integers(sys.argv[2]) if sys.argv[1] == "int8" else main(*sys.argv[1:])
