"""Small pictures: how large a set's pictures are, and sets of small ones decoded once, to be read as arrays are."""

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import torch
from PIL.Image import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from shufflenet.checkpoints import Preprocessing
from shufflenet.data.datasets import ArrayDataset, FileDataset, PictureDataset
from shufflenet.data.pictures import BrokenPictureError, decoded

SMALL_SIDE = 64
SAMPLED = 100
LARGEST_BYTES = 2 * 2**30


def sampled_sizes(dataset: PictureDataset) -> list[tuple[int, int]]:
    """(height, width) of up to 100 pictures, evenly spaced over the set; of those that can be read."""
    if isinstance(dataset, ArrayDataset):
        height, width = dataset.images.shape[2:]
        return [(height, width)]
    sizes = []
    for index in np.linspace(0, len(dataset) - 1, min(SAMPLED, len(dataset))).astype(int).tolist():
        try:
            picture, _ = dataset[index]
        except BrokenPictureError:
            continue
        sizes.append((picture.height, picture.width))
    return sizes


def own_size(sizes: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The size that holds every one of these pictures, if all are small: at most 64 pixels on the long side. Else None."""
    if not sizes or max(map(max, sizes)) > SMALL_SIDE:
        return None
    heights, widths = zip(*sizes, strict=True)
    return max(heights), max(widths)


class DecodedDataset(ArrayDataset):
    """A set of small picture files in memory, which still knows its files' names."""

    def __init__(self, files: FileDataset, images: torch.Tensor, preprocessing: Preprocessing) -> None:
        super().__init__(images, files.labels, files.classes, preprocessing)
        self.files = files

    def name(self, index: int) -> str:
        return self.files.name(index)

    def file_keys(self) -> list[str]:
        return self.files.file_keys()

    def subset(self, indices: np.ndarray) -> Self:
        other = super().subset(indices)
        other.files = self.files.subset(indices)
        return other


def decode_small(dataset: PictureDataset, size: tuple[int, int]) -> PictureDataset:
    """Picture files that all have `size`, decoded into memory as RGB. A set with others, or with broken ones, stays as it is."""
    if not isinstance(dataset, FileDataset) or len(dataset) * 3 * size[0] * size[1] > LARGEST_BYTES:
        return dataset

    def read(index: int) -> torch.Tensor | None:
        try:
            picture: Image = decoded(dataset[index][0], "RGB")
        except BrokenPictureError:
            return None
        return pil_to_tensor(picture) if (picture.height, picture.width) == size else None

    images = torch.empty(len(dataset), 3, *size, dtype=torch.uint8)
    with ThreadPoolExecutor() as readers:
        for index, pixels in enumerate(readers.map(read, range(len(dataset)))):
            if pixels is None:
                return dataset
            images[index] = pixels
    return DecodedDataset(dataset, images, dataset.preprocessing)
