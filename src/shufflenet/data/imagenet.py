"""ImageNet as it is downloaded: training pictures in synset folders, validation pictures in one flat folder, labels elsewhere."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from shufflenet.data.classes import SYNSET
from shufflenet.data.datasets import FileDataset
from shufflenet.data.folders import is_picture_name, refuse_unreadable
from shufflenet.errors import UserError
from shufflenet.text_files import read_text

DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
DEVKIT_LABELS = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_LABELS = "LOC_val_solution.csv"
KAGGLE_PICTURES = Path("ILSVRC", "Data", "CLS-LOC")


def open_flat_validation(folder: Path, root: Path) -> FileDataset:
    """The pictures of a flat folder, labelled by the devkit, by Kaggle's solution file or by a synset file found in `root`.

    A synset file is a text file with "synset" in its name that gives one synset a line, in the order of the pictures' names, or
    "NAME SYNSET" lines. Classes are the synsets that occur, sorted. Raises UserError if there are no labels or they do not match.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file() and is_picture_name(entry.name))
    synsets = _synsets(folder, root, names)
    refuse_unreadable(folder, names)
    classes = sorted(set(synsets))
    number_of = {synset: number for number, synset in enumerate(classes)}
    return FileDataset(folder, names, [number_of[synset] for synset in synsets], classes)


def _synsets(folder: Path, root: Path, names: list[str]) -> list[str]:
    places = [root, folder, Path(os.path.abspath(folder)).parent]
    for place in places:
        for devkit in (place / DEVKIT, place):
            if (devkit / DEVKIT_LABELS).is_file():
                return _in_order(names, list(_devkit_synsets(devkit)), devkit / DEVKIT_LABELS)
        if (place / KAGGLE_LABELS).is_file():
            return _by_name(names, dict(_kaggle_synsets(place / KAGGLE_LABELS)), place / KAGGLE_LABELS)
        for path in sorted(place.glob("*synset*.txt")):
            lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
            if all(len(line) == 1 and SYNSET.fullmatch(line[0]) for line in lines):
                return _in_order(names, [line[0] for line in lines], path)
            if all(len(line) == 2 and SYNSET.fullmatch(line[1]) for line in lines):
                return _by_name(names, {os.path.basename(name): synset for name, synset in lines}, path)
    raise UserError(
        f"{folder} holds pictures without class folders; put the pictures of each class in a folder with the class's name "
        f"(for ImageNet's pictures, labels in {root} will do: {DEVKIT}, {KAGGLE_LABELS}, or a file with one synset a line)"
    )


def _in_order(names: list[str], synsets: list[str], source: Path) -> list[str]:
    if len(synsets) != len(names):
        raise UserError(f"{source} has {len(synsets)} labels for {len(names)} pictures; one of them is not complete")
    return synsets


def _by_name(names: list[str], synsets: dict[str, str], source: Path) -> list[str]:
    labels = [synsets.get(name) or synsets.get(os.path.splitext(name)[0]) for name in names]
    found = [label for label in labels if label is not None]
    if len(found) < len(names):
        first = names[labels.index(None)]
        raise UserError(
            f"{source} has no label for {len(names) - len(found)} of {len(names)} pictures, such as {first}"
        )
    return found


def _kaggle_synsets(path: Path) -> Iterator[tuple[str, str]]:
    # ImageId,PredictionString: "ILSVRC2012_val_00048981,n03995372 85 1 499 272"
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if not {"ImageId", "PredictionString"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path} does not begin with the columns ImageId,PredictionString; it is not Kaggle's file")
    for row in rows:
        words = (row["PredictionString"] or "").split()
        # Empty rows do not count. A picture without a label is found when its label is asked for.
        if words:
            yield row["ImageId"], words[0]


def _devkit_synsets(devkit: Path) -> Iterator[str]:
    from scipy.io import loadmat

    table = loadmat(devkit / "meta.mat", squeeze_me=True, chars_as_strings=True)["synsets"]
    synset_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in table}
    for line in read_text(devkit / DEVKIT_LABELS).split():
        yield synset_of[int(line)]
