"""Annotated pictures as what a detector takes: a tensor, and boxes with labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import pil_to_tensor

from shufflenet.data.draws import item_seeds, torch_seed
from shufflenet.data.pictures import read_picture
from shufflenet.detection.coco import Annotations, Picture
from shufflenet.detection.config import Category
from shufflenet.errors import UserError

LabelledBoxes = dict[str, Tensor]
KEPT_BYTES = 1 << 29  # of decoded training pictures, in each process that reads them


def read_pixels(path: str | Path) -> Tensor:
    """A picture file as a detector takes it, grey and CMYK ones too: RGB, float32 [3, h, w] from 0 to 1."""
    return pil_to_tensor(read_picture(path)).float() / 255


def label_of(annotations: Annotations, categories: tuple[Category, ...]) -> dict[int, int]:
    """The label, from 1 up, that a detector of `categories` has for each category id of `annotations`; names decide.

    Raises UserError for a category that the detector does not know.
    """
    labels = {category.name: label for label, category in enumerate(categories, start=1)}
    for category in annotations.categories:
        if category.name not in labels:
            raise UserError(
                f"{annotations.path} has category {category.name!r}, which the detector does not know; it knows {', '.join(labels)}"
            )
    return {category.id: labels[category.name] for category in annotations.categories}


def learnable(annotations: Annotations) -> Annotations:
    """`annotations` without the pictures that would teach a wrong background: those of which no object can be learned from.

    A picture without any object stays: it is background.
    """
    pictures = tuple(picture for picture in annotations.pictures if not len(picture.boxes) or picture.usable().any())
    if not any(len(picture.boxes) for picture in pictures):
        raise UserError(
            f"{annotations.path} has no object to learn from; its boxes are missing, crowds, or without an area"
        )
    return replace(annotations, pictures=pictures)


class DetectionDataset(Dataset[tuple[Tensor, LabelledBoxes]]):
    """Item i is (picture, target): float32 [3, h, w] from 0 to 1, and boxes float32 [k, 4] (x1, y1, x2, y2), labels int64 [k].

    The boxes are the usable ones: no crowds, clipped to the picture. `transform` varies a uint8 picture and its target by torch's
    generator: a pure function of (seed, epoch, i), as classifiers' inputs are. Raises UserError for a picture that cannot be read or
    has not the size that its annotations say.
    """

    def __init__(
        self,
        annotations: Annotations,
        categories: tuple[Category, ...],
        *,
        transform: Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]] | None = None,
        seed: int = 0,
    ) -> None:
        self.pictures = annotations.pictures
        self.labels = label_of(annotations, categories)
        self.transform = transform
        self.seed = seed
        size = sum(3 * picture.width * picture.height for picture in self.pictures)
        # What is not varied is looked at once.
        self._decoded: dict[int, Tensor] | None = {} if transform and size <= KEPT_BYTES else None
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # reaches the DataLoader's workers

    def set_epoch(self, epoch: int) -> None:
        """Call before the DataLoader's iterator of that epoch is made."""
        self._epoch.fill_(epoch)

    def order(self, epoch: int) -> np.ndarray:
        """The indices in the random order of an epoch: a pure function of (seed, epoch)."""
        return np.random.default_rng((self.seed, epoch)).permutation(len(self))

    def check(self) -> None:
        """Nothing is put off: a broken picture ends the run where it is read."""

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, LabelledBoxes]:
        picture = self.pictures[index]
        pixels = self._pixels(index)
        target: dict[str, Any] = {"boxes": self._boxes(picture), "labels": self._labels(picture)}
        if self.transform is not None:
            with torch_seed(int(item_seeds(self.seed, int(self._epoch), [index])[0])):
                pixels, target = self.transform(tv_tensors.Image(pixels), target)
        boxes = target["boxes"].as_subclass(Tensor)
        return pixels.as_subclass(Tensor).float() / 255, {"boxes": boxes, "labels": target["labels"]}

    def _pixels(self, index: int) -> Tensor:
        """A picture's uint8 [3, h, w]; those of a set that fits KEPT_BYTES are decoded once."""
        if self._decoded is not None and index in self._decoded:
            return self._decoded[index]
        picture = self.pictures[index]
        pixels = pil_to_tensor(read_picture(picture.path))
        height, width = pixels.shape[1:]
        if (width, height) != (picture.width, picture.height):
            raise UserError(
                f"{picture.path} is {width}×{height} and its annotations say {picture.width}×{picture.height}; "
                f"correct image {picture.id} there"
            )
        if self._decoded is not None:
            self._decoded[index] = pixels
        return pixels

    def _boxes(self, picture: Picture) -> tv_tensors.BoundingBoxes:
        corners = picture.corners()[picture.usable()].astype(np.float32)
        size = (picture.height, picture.width)
        return tv_tensors.BoundingBoxes(
            torch.from_numpy(corners), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size
        )  # pyright: ignore[reportCallIssue]

    def _labels(self, picture: Picture) -> Tensor:
        ids = picture.category_ids[picture.usable()].tolist()
        return torch.tensor([self.labels[category_id] for category_id in ids], dtype=torch.int64)


def collate(items: list[tuple[Tensor, LabelledBoxes]]) -> tuple[list[Tensor], list[LabelledBoxes]]:
    """A batch: pictures of any sizes stay a list, which the detector pads."""
    pictures, targets = zip(*items, strict=True)
    return list(pictures), list(targets)
