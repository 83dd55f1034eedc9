"""Make a checkpoint that ships with the package from a training run: half-precision weights, with what that costs in its config.json.

    python experiments/ship.py RUN_FOLDER fashion-mnist/shufflenet_x0_25_g8 [NOTE]

RUN_FOLDER is what `shufflenet train` wrote, or its folder best/. NOTE goes into config.json. Both precisions are tested on the full data
set's test pictures; if half precision costs more than five pictures in 10,000, nothing is written.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from shufflenet import checkpoints
from shufflenet.checkpoints.hub import SHIPPED
from shufflenet.data import open_dataset
from shufflenet.training import evaluate

LARGEST_BYTES = 2_000_000
LARGEST_LOSS = 0.05  # percent of the pictures


def recipe_of(run: Path) -> dict[str, Any]:
    """The recipe of a run that ended before it wrote its record."""
    found = [folder / "recipe.yaml" for folder in (run, run.parent) if (folder / "recipe.yaml").exists()]
    return {"recipe": yaml.safe_load(found[0].read_text(encoding="utf-8"))} if found else {}


def main(run: str, name: str, note: str = "") -> None:
    data = name.partition("/")[0]
    test_set = open_dataset(data, "test")
    net = checkpoints.load(run)
    full = evaluate(net, test_set)
    with tempfile.TemporaryDirectory() as folder:
        half = evaluate(checkpoints.load(checkpoints.save(net, Path(folder) / "half", dtype="float16")), test_set)
    print(f"{full.top1_error:.2f}% wrong of {full.pictures} in float32, {half.top1_error:.2f}% in float16")
    if half.top1_error > full.top1_error + LARGEST_LOSS:
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
    folder = checkpoints.save(net, SHIPPED / name, overwrite=True, dtype="float16")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size} bytes")
    if size > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES}: too large to ship")


if __name__ == "__main__":
    main(*sys.argv[1:])
