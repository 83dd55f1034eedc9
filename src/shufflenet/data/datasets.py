"""What every set of pictures offers, and the two plainest kinds: files in class folders, and arrays in memory."""

import copy
import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_pil_image

from shufflenet.checkpoints import IMAGENET, Preprocessing
from shufflenet.data.pictures import open_picture, shown
from shufflenet.errors import UserError

Split = Literal["train", "test"]
Pictures = TypeVar("Pictures", bound="PictureDataset")


class PictureDataset(Dataset[tuple[Image.Image, int]]):
    """Pictures with labels. Item i is (picture, label): a PIL image of mode "RGB" or "L", and an index into `classes`.

    `labels` is an int64 array of all labels; `name(i)` tells a person which picture item i is; `preprocessing` is the input that
    a network for these pictures would take; `passed_over` counts the files beside them that are no pictures, by suffix. Reading a
    picture raises BrokenPictureError; a JPEG's pixels are decoded at first use.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    preprocessing: Preprocessing = IMAGENET
    passed_over: Mapping[str, int] = MappingProxyType({})

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
        # One array of bytes, not a million strings: workers share its memory, where reading a string would copy its page.
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)

    def path(self, index: int) -> str:
        """Where the picture lies."""
        return os.path.join(self.root, os.fsdecode(self.paths[index]))

    def name(self, index: int) -> str:
        return shown(self.path(index))

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_picture(self.path(index)), int(self.labels[index])

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
