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
    asked for, which libjpeg does within its inverse transform for a fraction of the work, and cropped to whole decoded pixels.
    For training only: libjpeg's fast modes, used here, change values by a few units. Raises BrokenPictureError if the pixels cannot
    be read.
    """
    top, left, height, width = box
    least = (math.ceil(image.height * size[0] / height), math.ceil(image.width * size[1] / width))
    pixels = decode_jpeg(image, mode, least)
    if pixels is None:
        cropped = decoded(image, mode).crop((left, top, left + width, top + height))
        return _scaled(pil_to_tensor(cropped), size, interpolation)
    eighths = max(pixels.shape) * 8 // max(image.size)  # libjpeg rounds sizes up
    rows = slice(top * eighths // 8, -(-(top + height) * eighths // 8))
    columns = slice(left * eighths // 8, -(-(left + width) * eighths // 8))
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
