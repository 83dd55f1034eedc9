"""Any data set by its name or its place."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from shufflenet.checkpoints import Preprocessing
from shufflenet.data import fashion_mnist, hub, imagenet
from shufflenet.data.array_inputs import ArrayInputs, fits
from shufflenet.data.classes import class_map, with_names
from shufflenet.data.datasets import (
    ArrayDataset,
    PictureDataset,
    is_picture_name,
    open_class_folders,
    split_off,
)
from shufflenet.data.inputs import Inputs, PictureInputs
from shufflenet.data.shards import open_shards
from shufflenet.data.transforms import Augmentation, evaluation_transform, training_transform
from shufflenet.errors import UserError

Split = Literal["train", "test"]

NAMES = {"fashion-mnist": fashion_mnist.open_full, "fashion-mnist-7k": fashion_mnist.open_bundled}
HUB_PREFIX = "hf:"
# "val" comes before "test": where there are both (ImageNet), the labels of the test set are often nobody's but the organisers'.
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train", "training"), "test": ("val", "validation", "test")}


def open_dataset(
    name_or_path: str | Path, split: Split, *, classes: Sequence[str] | None = None, held_out: float = 0.0
) -> PictureDataset:
    """The training or test part of a data set.

    - "fashion-mnist-7k", which comes with this package, or "fashion-mnist";
    - "hf:NAME": a data set of the Hugging Face Hub;
    - a folder with the folders train and val (or training, validation, test), each with a folder of pictures for each class, or
      shards train-*.tar and val-*.tar; ImageNet's flat val folder finds its labels in the devkit, Kaggle's CSV or a synset file
      beside it;
    - a folder of class folders, or shards, "path/{000..146}.tar" or "path/part-*.tar".

    Where one split is not told from the other, as in the last kind and where a Hub data set has "train" alone, all of it is taken
    for either; or with `held_out` above 0, that share of each class for the test and the rest for training, chosen by a hash of the
    pictures' names.

    With `classes`, a network's, labels are numbers of these: classes are matched by name or ImageNet's synset (`class_map`).
    Raises UserError for what is not there or not labelled.
    """
    dataset = _open(str(name_or_path), split, held_out)
    return dataset if classes is None else dataset.relabelled(class_map(dataset.classes, classes), classes)


def augment(
    dataset: PictureDataset,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    seed: int = 0,
    max_broken_share: float = 0.01,
) -> Inputs:
    """The inputs to train on: a data set with random crops, flips and colours, by the batch where the pictures are in memory."""
    if isinstance(dataset, ArrayDataset) and fits(dataset, preprocessing, augmentation):
        return ArrayInputs(dataset, preprocessing, augmentation, seed=seed)
    transform = training_transform(preprocessing, augmentation)
    return PictureInputs(dataset, transform, seed=seed, max_broken_share=max_broken_share)


def prepare(dataset: PictureDataset, preprocessing: Preprocessing) -> Inputs:
    """The inputs to evaluate on: the centre crop of every picture. A broken picture is never replaced: `check` raises at once."""
    if isinstance(dataset, ArrayDataset) and fits(dataset, preprocessing, None):
        return ArrayInputs(dataset, preprocessing, None)
    return PictureInputs(dataset, evaluation_transform(preprocessing), max_broken_share=0.0)


def _open(name: str, split: Split, held_out: float) -> PictureDataset:
    if split not in SPLIT_FOLDERS:
        raise UserError(f"split is {split!r}; it is 'train' or 'test'")
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is {held_out}; it is a share of the pictures, from 0 to below 1")
    if name in NAMES:
        return NAMES[name](split)
    if name.startswith(HUB_PREFIX):
        return hub.open_hub(name.removeprefix(HUB_PREFIX), split, held_out)
    if name.endswith(".tar"):
        return _split(open_shards(name), split, held_out)
    root = Path(name)
    if not root.is_dir():
        raise UserError(
            f"there is no data set {name}: it is no folder, and none of {', '.join(NAMES)}, hf:NAME, PATTERN.tar"
        )
    return _open_folder(root, split, held_out)


def _open_folder(root: Path, split: Split, held_out: float) -> PictureDataset:
    if not _has_splits(root):
        return _split(_open_part(root, root), split, held_out)
    for parent in (root, root / imagenet.KAGGLE_PICTURES):
        for name in SPLIT_FOLDERS[split]:
            if (parent / name).is_dir():
                return _open_part(parent / name, root)
            if any(parent.glob(f"{name}-*.tar")):
                return open_shards(parent / f"{name}-*.tar")
    raise UserError(
        f"{root} has no {' or '.join(SPLIT_FOLDERS[split])} for the {split} split, though it has the other one"
    )


def _split(whole: PictureDataset, split: Split, held_out: float) -> PictureDataset:
    return split_off(whole, held_out, test=split == "test") if held_out else whole


def _has_splits(root: Path) -> bool:
    """Whether a folder holds splits, not classes: a class may be called "train" too, but then holds pictures, not folders."""
    shards = (shard for name in chain(*SPLIT_FOLDERS.values()) for shard in root.glob(f"{name}-*.tar"))
    if (root / imagenet.KAGGLE_PICTURES).is_dir() or any(shards):
        return True
    trains = [root / name for name in SPLIT_FOLDERS["train"] if (root / name).is_dir()]
    if trains:
        return any(child.is_dir() or child.suffix == ".tar" for child in trains[0].iterdir())
    return any((root / name).is_dir() for name in SPLIT_FOLDERS["test"])


def _open_part(folder: Path, root: Path) -> PictureDataset:
    """One split: class folders, shards, or pictures that are labelled elsewhere in `root`."""
    with os.scandir(folder) as entries:
        kinds = {_kind(entry) for entry in entries if not entry.name.startswith(".")}
    if "folder" in kinds:
        dataset = open_class_folders(folder)
    elif "shard" in kinds:
        return open_shards(folder / "*.tar")
    elif "picture" in kinds:
        dataset = imagenet.open_flat_validation(folder, root)
    else:
        raise UserError(f"{folder} has no class folders, no shards and no pictures")
    dataset.classes = with_names(dataset.classes)
    return dataset


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_dir():
        return "folder"
    return "shard" if entry.name.endswith(".tar") else "picture" if is_picture_name(entry.name) else "other"
