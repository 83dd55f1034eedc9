"""From a picture to a network's input: torchvision v2 transforms, made from a checkpoint's Preprocessing and a recipe's Augmentation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from shufflenet.checkpoints import Preprocessing
from shufflenet.data.jpeg import decode_crop
from shufflenet.data.pictures import Mode, decoded
from shufflenet.errors import UserError

# fb.resnet.torch's: luma of ITU-R BT.601, and the principal axes of ImageNet's colours, scaled by their standard deviations.
LUMA = np.array([0.299, 0.587, 0.114])
COLOR_AXES = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
COLOR_AXES = COLOR_AXES * [0.2175, 0.0188, 0.0045]


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied. The defaults are fb.resnet.torch's, which the paper uses (section 4), less aggressive crops apart.

    - area, aspect: a random crop keeps this range of the picture's area, at this range of width / height, and is scaled to the input.
      The paper calls for "slightly less aggressive scale augmentation" without a number; tensorpack's reproduction of its errors keeps
      at least 0.49 below 1× (`PAPER_SMALL_NET`): a small network underfits, so crops that hide most of the object only cost it.
    - padding: for small pictures, in place of area and aspect: so many pixels of zeros around the picture, of which a random crop is taken.
    - flip: the probability of a horizontal flip.
    - color_jitter: brightness, contrast and saturation, in random order, each times 1 ± so much.
    - lighting: the standard deviation of a shift along the principal axes of ImageNet's colours (AlexNet's lighting noise).
    - erase: the probability that a random rectangle, 2 to 33% of the input, is set to the mean colour (arXiv 1708.04896).
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    padding: int | None = None
    flip: float = 0.5
    color_jitter: float = 0.4
    lighting: float = 0.1
    erase: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(
                f"augmentation area is {self.area}; it is a range of shares of the picture, above 0 and at most 1"
            )
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UserError(f"augmentation aspect is {self.aspect}; it is a range of width / height, above 0")
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augmentation {name} is {getattr(self, name)}; it is a probability")
        if not 0 <= self.color_jitter <= 1 or self.lighting < 0 or (self.padding or 0) < 0:
            raise UserError("augmentation color_jitter is between 0 and 1, lighting and padding are not below 0")


PAPER = Augmentation()
PAPER_SMALL_NET = Augmentation(area=(0.49, 1.0))
MEGVII = Augmentation(lighting=0.0)
SMALL_PICTURES = Augmentation(padding=2, color_jitter=0.0, lighting=0.0)


def training_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> nn.Module:
    """Random crop, flip, colours, normalisation: a picture of `open_picture` → float32 [channels, height, width], by torch's generator."""
    varied = augmentation.color_jitter or augmentation.lighting
    steps: list[nn.Module] = [
        RandomCrop(preprocessing, augmentation),
        v2.RandomHorizontalFlip(augmentation.flip),
        ColorsAndNormalization(preprocessing, augmentation) if varied else Normalization(preprocessing),
    ]
    return nn.Sequential(*steps, *([v2.RandomErasing(augmentation.erase)] if augmentation.erase else []))


def evaluation_transform(preprocessing: Preprocessing) -> nn.Module:
    """The one centre crop of the paper: a picture of `open_picture` → float32 [channels, height, width], nothing random in it."""
    interpolation = InterpolationMode(preprocessing.interpolation)
    return nn.Sequential(
        Decode(picture_mode(preprocessing)),
        v2.Resize(preprocessing.short_side or preprocessing.size, interpolation),
        v2.CenterCrop(preprocessing.size),
        v2.PILToTensor(),
        Normalization(preprocessing),
    )


def picture_mode(preprocessing: Preprocessing) -> Mode:
    """The mode that pictures are read in for a network. Raises UserError if its input is not a picture's colours."""
    if preprocessing.channel_order == "other":
        raise UserError(
            f"the network takes {preprocessing.channels} channels that are not a picture's; give it tensors, not picture files"
        )
    return "L" if preprocessing.channel_order == "grey" else "RGB"


class Decode(nn.Module):
    """The whole picture, decoded, in one mode."""

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self.mode: Mode = mode

    def forward(self, image: Image) -> Image:
        return decoded(image, self.mode)


class RandomCrop(nn.Module):
    """A random part of a picture, scaled to the input's size: uint8 [channels, height, width]. Chosen before a JPEG is decoded."""

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation) -> None:
        super().__init__()
        self.mode: Mode = picture_mode(preprocessing)
        self.size = preprocessing.size
        self.padding = augmentation.padding
        if preprocessing.interpolation not in ("bilinear", "bicubic"):
            raise UserError(
                f"training crops are scaled bilinearly or bicubically, not by {preprocessing.interpolation}"
            )
        self.interpolation: Literal["bilinear", "bicubic"] = preprocessing.interpolation
        self.box = v2.RandomResizedCrop(self.size, augmentation.area, augmentation.aspect)

    def forward(self, image: Image) -> Tensor:
        if self.padding is None:
            params = self.box.make_params([image])
            box = params["top"], params["left"], params["height"], params["width"]
            return decode_crop(image, box, self.size, self.mode, self.interpolation)
        whole = decode_crop(image, (0, 0, image.height, image.width), self.size, self.mode, self.interpolation)
        padded = functional.pad(whole, [self.padding])
        top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
        return padded[:, top : top + self.size[0], left : left + self.size[1]]


class Normalization(nn.Module):
    """uint8 RGB or grey [channels, height, width] → the network's float32 input, in its channel order."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.reverse = preprocessing.channel_order == "BGR"
        std = torch.tensor(preprocessing.std, dtype=torch.float64)[:, None, None]
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)[:, None, None]
        self.factor = (1 / (255 * std)).float()
        self.offset = (-mean / std).float()

    def forward(self, pixels: Tensor) -> Tensor:
        values = (pixels.flip(0) if self.reverse else pixels).float()
        return values.mul_(self.factor).add_(self.offset)


class ColorsAndNormalization(nn.Module):
    """As Normalization, with the colours varied.

    Brightness, contrast, saturation, lighting and normalisation are each an affine map of a pixel's colour, so all of them together
    are one 3×3 matrix and one offset a picture. Like fb.resnet.torch and unlike torchvision's ColorJitter, nothing is rounded or
    clamped in between.
    """

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation) -> None:
        super().__init__()
        self.jitter = augmentation.color_jitter
        self.lighting = augmentation.lighting
        self.order = [2, 1, 0] if preprocessing.channel_order == "BGR" else list(range(preprocessing.channels))
        self.mean = np.array(preprocessing.mean)
        self.std = np.array(preprocessing.std)
        grey = preprocessing.channels == 1
        self.luma = np.ones(1) if grey else LUMA
        self.axes = LUMA[None] @ COLOR_AXES if grey else COLOR_AXES

    def forward(self, pixels: Tensor) -> Tensor:
        values = pixels.flatten(1).float()  # from 0 to 255
        matrix, offset = self.colors(values)
        matrix = matrix[self.order] / (255 * self.std[:, None])
        offset = (offset[self.order] - self.mean) / self.std
        return torch.addmm(_tensor(offset[:, None]), _tensor(matrix), values).view(pixels.shape)

    def colors(self, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """A random matrix [channels, channels] and offset [channels] of colours from 0 to 1, for a picture [channels, pixels]."""
        identity = np.eye(len(values))
        matrix, offset = identity, np.zeros(len(values))
        if self.jitter:
            mean = values.mean(1).numpy() / 255
            brightness, contrast, saturation = (1 + (2 * torch.rand(3) - 1) * self.jitter).tolist()
            for step in torch.randperm(3).tolist():
                if step == 0:
                    matrix, offset = brightness * matrix, brightness * offset
                elif step == 1:  # towards the mean grey of the picture as it is by now
                    grey = self.luma @ (matrix @ mean + offset)
                    matrix, offset = contrast * matrix, contrast * offset + (1 - contrast) * grey
                else:  # towards each pixel's grey
                    mix = saturation * identity + (1 - saturation) * self.luma
                    matrix, offset = mix @ matrix, mix @ offset
        if self.lighting:
            offset = offset + self.axes @ (torch.randn(3).numpy() * self.lighting)
        return matrix, offset


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
