"""Any data set by its name or its place."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from shufflenet.checkpoints import Preprocessing
from shufflenet.data import fashion_mnist, hub, imagenet
from shufflenet.data.array_inputs import ArrayInputs, fits
from shufflenet.data.classes import class_map, with_names
from shufflenet.data.datasets import ArrayDataset, FileDataset, PictureDataset, split_off
from shufflenet.data.folders import (
    SPLIT_NAMES,
    Split,
    describe_passed_over,
    is_hidden,
    is_picture_name,
    listed,
    open_class_folders,
    split_folders,
    split_has_parts,
    subfolders,
)
from shufflenet.data.inputs import Inputs, PictureInputs
from shufflenet.data.shards import open_shards
from shufflenet.data.transforms import Augmentation, evaluation_transform, training_transform
from shufflenet.errors import UserError

NAMES = {"fashion-mnist": fashion_mnist.open_full, "fashion-mnist-7k": fashion_mnist.open_bundled}
HUB_PREFIX = "hf:"


def open_dataset(
    name_or_path: str | Path, split: Split, *, classes: Sequence[str] | None = None, held_out: float = 0.0
) -> PictureDataset:
    """The training or test part of a data set.

    - "fashion-mnist-7k", which comes with this package, or "fashion-mnist";
    - "hf:NAME": a data set of the Hugging Face Hub;
    - a folder with the folders train and val (or training, valid, validation, dev, test, testing, eval, in any case), each with a
      folder of pictures for each class, or shards train-*.tar and val-*.tar; ImageNet's flat val folder finds its labels in the
      devkit, Kaggle's CSV or a synset file beside it;
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


def prepare(dataset: PictureDataset, preprocessing: Preprocessing, *, max_broken_share: float = 0.0) -> Inputs:
    """The inputs to evaluate on: the centre crop of every picture. A broken picture is never replaced: its label is BROKEN.

    Once more than `max_broken_share` are broken, `check` raises.
    """
    if isinstance(dataset, ArrayDataset) and fits(dataset, preprocessing, None):
        return ArrayInputs(dataset, preprocessing, None)
    return PictureInputs(dataset, evaluation_transform(preprocessing), max_broken_share=max_broken_share, replace=False)


def describe(dataset: PictureDataset) -> str:
    """What was found, in a line for people: how many pictures, of which classes, where, and what was passed over."""
    place = f" in {dataset.root}" if isinstance(dataset, FileDataset) else ""
    left_out = describe_passed_over(dataset.passed_over)
    classes = f"{len(dataset.classes)} classes ({listed(dataset.classes)})"
    return f"{len(dataset):,} pictures of {classes}{place}{f'; {left_out}' if left_out else ''}"


def _open(name: str, split: Split, held_out: float) -> PictureDataset:
    if split not in SPLIT_NAMES:
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
        if not parent.is_dir():
            continue
        if folders := split_folders(parent, split):
            return _open_part(parent / folders[0], root, single_class=split == "test")
        for name in SPLIT_NAMES[split]:
            if any(parent.glob(f"{name}-*.tar")):
                return open_shards(parent / f"{name}-*.tar")
    other: Split = "train" if split == "test" else "test"
    there = next(iter(split_folders(root, other)), "")
    hint = f"; give {root / there}, of which --held-out takes a part for the test" if there and split == "test" else ""
    raise UserError(
        f"{root} has no {' or '.join(SPLIT_NAMES[split])} for the {split} split, though it has the other one{hint}"
    )


def _split(whole: PictureDataset, split: Split, held_out: float) -> PictureDataset:
    return split_off(whole, held_out, test=split == "test") if held_out else whole


def _has_splits(root: Path) -> bool:
    """Whether a folder holds splits, not classes: a class may be called "train" too, but then holds pictures, not folders."""
    shards = (shard for name in chain(*SPLIT_NAMES.values()) for shard in root.glob(f"{name}-*.tar"))
    if (root / imagenet.KAGGLE_PICTURES).is_dir() or any(shards):
        return True
    trains, tests = (split_folders(root, split) for split in ("train", "test"))
    if any(split_has_parts(root / name) for name in trains or tests):
        return True
    # A flat folder of pictures that are labelled elsewhere, unless the folders beside it are classes too.
    others = set(subfolders(root)) - set(tests)
    return bool(tests) and not trains and not any(_has_pictures(root / name) for name in others)


def _has_pictures(folder: Path) -> bool:
    return any(is_picture_name(path.name) for path in folder.iterdir())


def _open_part(folder: Path, root: Path, *, single_class: bool = False) -> PictureDataset:
    """One split: class folders, shards, or pictures that are labelled elsewhere in `root`."""
    with os.scandir(folder) as entries:
        kinds = {_kind(entry) for entry in entries if not is_hidden(entry.name)}
    if "folder" in kinds:
        dataset = open_class_folders(folder, single_class=single_class)
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
