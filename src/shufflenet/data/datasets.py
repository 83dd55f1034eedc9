"""What every set of pictures offers, and the two plainest kinds: files in class folders, and arrays in memory."""

import copy
import hashlib
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_pil_image

from shufflenet.checkpoints import IMAGENET, Preprocessing
from shufflenet.data.pictures import SUFFIXES, open_picture
from shufflenet.errors import UserError

Pictures = TypeVar("Pictures", bound="PictureDataset")


class PictureDataset(Dataset[tuple[Image.Image, int]]):
    """Pictures with labels. Item i is (picture, label): a PIL image of mode "RGB" or "L", and an index into `classes`.

    `labels` is an int64 array of all labels; `name(i)` tells a person which picture item i is; `preprocessing` is the input that a
    network for these pictures would take. Reading a picture raises BrokenPictureError; a JPEG's pixels are decoded at first use.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    preprocessing: Preprocessing = IMAGENET

    @abstractmethod
    def name(self, index: int) -> str: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The indices in the random order of an epoch: a pure function of (seed, epoch)."""
        return np.random.default_rng((seed, epoch)).permutation(len(self))

    @abstractmethod
    def file_keys(self) -> list[str]:
        """A string for each picture that tells it from the others, and stays the same when others come or go."""

    def subset(self, indices: np.ndarray) -> Self:
        """The pictures at some indices, as a set of their own."""
        other = copy.copy(self)
        other.labels = self.labels[indices]
        return other

    def relabelled(self, label_map: Sequence[int], classes: Sequence[str]) -> Self:
        """The same pictures with `label_map[label]` in place of each label, an index into `classes`."""
        other = copy.copy(self)
        other.labels = np.asarray(label_map, dtype=np.int64)[self.labels]
        other.classes = tuple(classes)
        return other


class FileDataset(PictureDataset):
    """Picture files below a folder: `paths` relative to `root`, one label each."""

    def __init__(
        self, root: Path, paths: Sequence[str], labels: Sequence[int] | np.ndarray, classes: Sequence[str]
    ) -> None:
        self.root = root
        # One array of bytes, not a million strings: DataLoader workers share its memory, where reading a string would copy its page.
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)

    def name(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.paths[index]))

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_picture(self.name(index)), int(self.labels[index])

    def file_keys(self) -> list[str]:
        return [os.fsdecode(path) for path in self.paths]

    def subset(self, indices: np.ndarray) -> Self:
        other = super().subset(indices)
        other.paths = self.paths[indices]
        return other


class ArrayDataset(PictureDataset):
    """Small pictures of one size, all in memory: `images` is a uint8 tensor [pictures, channels, height, width], 1 or 3 channels.

    `augment` and `prepare` work on such a set by the batch, many times faster than picture by picture.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Sequence[int] | np.ndarray | Tensor,
        classes: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        if (
            images.dtype != torch.uint8
            or images.ndim != 4
            or images.shape[1] not in (1, 3)
            or len(images) != len(labels)
        ):
            raise UserError(
                f"images are {images.dtype} {list(images.shape)} with {len(labels)} labels; "
                "they are uint8 [pictures, 1 or 3, height, width], one label each"
            )
        self.images = images
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)
        self.preprocessing = preprocessing

    def name(self, index: int) -> str:
        return f"picture {index} of class {self.classes[self.labels[index]]}"

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return to_pil_image(self.images[index]), int(self.labels[index])

    def file_keys(self) -> list[str]:
        return [str(index) for index in range(len(self))]

    def subset(self, indices: np.ndarray) -> Self:
        other = super().subset(indices)
        other.images = self.images[torch.from_numpy(indices)]
        return other


def class_folders(root: Path) -> list[str]:
    """The names of the folders in `root`, in the order of their class numbers: by name, or by number where all are numbers.

    Raises UserError if there is none.
    """
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        raise UserError(
            f"{root} has no class folders; put the pictures of each class in a folder with the class's name"
        )
    # "10" sorts before "2" by name: ImageNet-V2's folders, 0 to 999, would be labelled wrongly.
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names)


def open_class_folders(root: Path) -> FileDataset:
    """A set from a folder that holds one folder of pictures, nested ones included, for each class.

    Files that are not named as pictures are passed over. Raises UserError for a class without any picture.
    """
    classes = class_folders(root)
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = _pictures_below(root, name)
        if not found:
            raise UserError(
                f"class folder {root / name} has no pictures ({', '.join(sorted(SUFFIXES))}); fill it or remove it"
            )
        paths += found
        labels += [label] * len(found)
    return FileDataset(root, paths, labels, classes)


def split_off(dataset: Pictures, share: float, *, test: bool) -> Pictures:
    """The `share` of each class (at least one picture) that is held out for the test, or the rest.

    Which pictures are held out follows from a hash of their keys alone: the same on every machine, and hardly touched by
    pictures that are added later. Raises UserError if a class has a single picture.
    """
    hashes = [hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest() for key in dataset.file_keys()]
    order = np.array(hashes, dtype="S32").argsort(kind="stable")
    chosen = np.zeros(len(dataset), dtype=bool)
    for label, name in enumerate(dataset.classes):
        members = order[dataset.labels[order] == label]
        if len(members) == 1:
            raise UserError(f"class {name!r} has a single picture; it takes two to hold one out for the test")
        chosen[members[: max(1, round(share * len(members)))]] = True
    return dataset.subset(np.flatnonzero(chosen if test else ~chosen))


def _pictures_below(root: Path, folder: str) -> list[str]:
    found = []
    for parent, folders, files in os.walk(root / folder, followlinks=True):
        folders.sort()
        relative = os.path.relpath(parent, root)
        found += [os.path.join(relative, file) for file in sorted(files) if is_picture_name(file)]
    return found


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
