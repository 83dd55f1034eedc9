"""A crop of a picture, scaled to a network's input, for as little decoding as the crop allows."""

import io
import math
from typing import Literal

import numpy as np
import simplejpeg
import torch
from PIL import JpegImagePlugin
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import pil_to_tensor

from shufflenet.data.pictures import Mode, decoded

COLOR_SPACES = {"RGB": "RGB", "L": "GRAY"}
# libjpeg can decode at k/8 of the size. Above 1/2, its scaled inverse transforms take longer than the whole one.
LEAST_FACTOR = 2


def decode_crop(
    image: Image,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    mode: Mode = "RGB",
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """The box (top, left, height, width) of a picture from `open_picture`, scaled to size (height, width): uint8 [channels, height, width].

    A JPEG whose box is at least twice `size` both ways is decoded at the smallest size that still gives a pixel for each pixel
    asked for: libjpeg scales within its inverse transform, for a fraction of the work. Raises BrokenPictureError if the pixels
    cannot be read. For training: libjpeg's
    fast modes change values by a few units, which evaluation, reading through `decoded`, does not allow.
    """
    top, left, height, width = box
    least = (math.ceil(image.height * size[0] / height), math.ceil(image.width * size[1] / width))
    pixels = decode_jpeg(image, mode, least)
    if pixels is None:
        return _scaled(
            pil_to_tensor(decoded(image, mode).crop((left, top, left + width, top + height))), size, interpolation
        )
    scale_y, scale_x = pixels.shape[1] / image.height, pixels.shape[2] / image.width
    rows = slice(math.floor(top * scale_y), math.ceil((top + height) * scale_y))
    columns = slice(math.floor(left * scale_x), math.ceil((left + width) * scale_x))
    return _scaled(pixels[:, rows, columns], size, interpolation)


def decode_jpeg(image: Image, mode: Mode, least: tuple[int, int]) -> Tensor | None:
    """A JPEG's pixels, scaled down to no less than (height, width); None for what is decoded already or takes Pillow's leniency."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.fp is None:
        return None
    assert isinstance(image.fp, io.BytesIO)
    options = {
        "min_height": least[0],
        "min_width": least[1],
        "min_factor": LEAST_FACTOR,
        "fastdct": True,
        "fastupsample": True,
    }
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(image.fp.getbuffer(), COLOR_SPACES[mode], **options)
    except ValueError:
        return None  # it complains of less than Pillow does; whether a picture is broken is for one place to say
    return torch.from_numpy(pixels).permute(2, 0, 1)  # a view: the resize works on pixels in rows


def _scaled(pixels: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    return functional.interpolate(pixels[None], size, mode=interpolation, antialias=True)[0]
