"""The fast way for small pictures in memory: a whole batch is cropped, flipped and normalised by a few tensor operations."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from shufflenet.checkpoints import Preprocessing
from shufflenet.data.datasets import ArrayDataset, PictureDataset
from shufflenet.data.draws import item_seeds, uniforms
from shufflenet.data.inputs import Inputs
from shufflenet.data.transforms import Augmentation

ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # arXiv 1708.04896, and the defaults of v2.RandomErasing


def fits(dataset: PictureDataset, preprocessing: Preprocessing, augmentation: Augmentation | None) -> bool:
    """Whether ArrayInputs can serve a set as the general transforms would: no scaling, no colours to vary, no colour to grey."""
    if not isinstance(dataset, ArrayDataset) or preprocessing.channel_order == "other":
        return False
    channels, *size = dataset.images.shape[1:]
    return (
        tuple(size) == preprocessing.size
        and preprocessing.short_side in (None, min(size))
        and channels in (1, preprocessing.channels)
        and (
            augmentation is None
            or (augmentation.padding is not None and not augmentation.color_jitter and not augmentation.lighting)
        )
    )


class ArrayInputs(Inputs):
    """Inputs from an ArrayDataset that `fits`, with the crops, flips and erasures of `augmentation` (None: the pictures as they are).

    A DataLoader hands whole batches of indices to `__getitems__`; the item for an index is the same alone or in any batch.
    """

    def __init__(
        self, dataset: ArrayDataset, preprocessing: Preprocessing, augmentation: Augmentation | None, *, seed: int = 0
    ) -> None:
        super().__init__(dataset, seed)
        self.images = dataset.images
        self.augmentation = augmentation
        self.flip_channels = preprocessing.channel_order == "BGR"
        self.mean = 255 * torch.tensor(preprocessing.mean)[:, None, None]
        self.std = 255 * torch.tensor(preprocessing.std)[:, None, None]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        images = self.images[torch.as_tensor(indices)]
        if self.augmentation is None:
            inputs = self._normalized(images)
        else:
            draws = torch.from_numpy(uniforms(item_seeds(self.seed, self.epoch, indices), 8)).unbind(1)
            inputs = self._normalized(cropped_and_flipped(images, draws[:3], self.augmentation))
            if self.augmentation.erase:
                inputs = erased(inputs, draws[3:], self.augmentation.erase)
        return list(zip(inputs, self.labels[list(indices)].tolist(), strict=True))

    def _normalized(self, images: Tensor) -> Tensor:
        colors = images.flip(1) if self.flip_channels else images
        # A grey picture becomes three channels where the network takes three.
        return (colors.float() - self.mean) / self.std


def cropped_and_flipped(images: Tensor, draws: Sequence[Tensor], augmentation: Augmentation) -> Tensor:
    """A random window of each zero-padded image [n, c, h, w], mirrored with probability `flip`; draws: top, left, flip, [n] each."""
    padding = augmentation.padding or 0
    height, width = images.shape[2:]
    top, left = ((draw * (2 * padding + 1)).long()[:, None] for draw in draws[:2])
    columns = torch.arange(width)
    mirrored = (draws[2] < augmentation.flip)[:, None]
    rows = top + torch.arange(height)  # [n, h]
    columns = left + torch.where(mirrored, columns.flip(0), columns)  # [n, w]
    padded = functional.pad(images, [padding] * 4).permute(0, 2, 3, 1)  # [n, h + 2p, w + 2p, c]
    number = torch.arange(len(images))[:, None, None]
    return padded[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def erased(inputs: Tensor, draws: Sequence[Tensor], probability: float) -> Tensor:
    """Zeros, the mean colour of normalised inputs, in a random rectangle of some; draws: whether, area, aspect, top, left."""
    height, width = inputs.shape[2:]
    whether, area, aspect, top, left = (draw[:, None] for draw in draws)
    area = height * width * _between(area, *ERASED_AREA)
    aspect = _between(aspect, *map(math.log, ERASED_ASPECT)).exp()
    box_height = (area * aspect).sqrt().round().clamp(max=height - 1)
    box_width = (area / aspect).sqrt().round().clamp(max=width - 1)
    top = (top * (height - box_height + 1)).floor()
    left = (left * (width - box_width + 1)).floor()
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (whether < probability) & (top <= rows) & (rows < top + box_height)
    in_columns = (left <= columns) & (columns < left + box_width)
    return inputs.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return low + draws * (high - low)
