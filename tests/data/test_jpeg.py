import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from shufflenet.data.jpeg import decode_crop, decode_jpeg
from shufflenet.data.pictures import BrokenPictureError, open_picture


def _jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_whole_decoding_gives_nearly_pillows_pixels(mode, options, photo):
    data = _jpeg(photo(75, 53), **options)
    pixels = decode_crop(open_picture(data), (5, 9, 40, 61), (40, 61), mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert(mode)).reshape(53, 75, -1)[5:45, 9:70].transpose(2, 0, 1)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == expected.shape
    # libjpeg's fast modes: chroma that is not interpolated, and an inverse transform with rounder factors.
    assert np.abs(pixels.numpy().astype(int) - expected).mean() < 4


@pytest.mark.parametrize(
    ("eighths", "width", "height"),
    [(8, 216, 136), (8, 304, 120), (4, 224, 128), (3, 304, 176), (2, 448, 256), (1, 896, 512)],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_scaled_decoding_sees_what_full_decoding_sees(eighths, width, height, mode, photo):
    """The crop scaled by Pillow from all pixels, against the crop of a picture that libjpeg scaled down before."""
    image, size = photo(width + 30, height + 20), (64, 112)
    data = _jpeg(image)
    least = (math.ceil(image.height * size[0] / height), math.ceil(image.width * size[1] / width))
    decoded = decode_jpeg(open_picture(data), mode, least)
    assert decoded is not None
    assert decoded.shape[1:] == (math.ceil(image.height * eighths / 8), math.ceil(image.width * eighths / 8))
    pixels = decode_crop(open_picture(data), (8, 16, height, width), size, mode).numpy().astype(float)
    # A power of two in the transform is the mean of a square of pixels; what else there is to scale is done bilinearly.
    method = Image.Resampling.BOX if eighths in (1, 2, 4) else Image.Resampling.BILINEAR
    expected = np.asarray(
        Image.open(io.BytesIO(data)).convert(mode).resize(size[::-1], method, (16, 8, 16 + width, 8 + height))
    )
    expected = expected.transpose(2, 0, 1) if mode == "RGB" else expected[None]
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 4.5
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("top", "left", "height", "width"), [(0, 0, 480, 640), (11, 13, 333, 451), (7, 101, 301, 299), (100, 3, 77, 50)]
)
def test_a_crop_is_in_its_place_to_a_decoded_pixel(top, left, height, width):
    """Values that rise by a third a pixel to the right and downwards tell where a crop was taken."""
    rise = np.add.outer(np.arange(480), np.zeros(640)) / 3, np.add.outer(np.zeros(480), np.arange(640)) / 3
    picture = Image.fromarray(np.stack([*rise, rise[0]], axis=-1).astype(np.uint8))
    pixels = decode_crop(open_picture(_jpeg(picture, subsampling=0)), (top, left, height, width), (32, 32)).float()
    rows = (top + (np.arange(32) + 0.5) * height / 32) / 3
    columns = (left + (np.arange(32) + 0.5) * width / 32) / 3
    a_decoded_pixel = max(1, height / 32, width / 32) / 3
    assert np.abs(pixels[0].numpy() - rows[:, None]).max() < a_decoded_pixel + 2.5
    assert np.abs(pixels[1].numpy() - columns[None]).max() < a_decoded_pixel + 2.5


def test_a_jpeg_that_only_pillow_accepts_is_read(photo):
    data = _jpeg(photo(60, 40))
    start = data.index(b"\xff\xda")
    odd = data[:start] + b"\x00\x00\x00" + data[start:]  # stray bytes between markers, as some cameras leave
    pixels = decode_crop(open_picture(odd), (0, 0, 40, 60), (40, 60))
    assert (pixels.numpy() == np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)).all()


def test_other_pictures_are_cropped_and_scaled(photo):
    buffer = io.BytesIO()
    photo(90, 70).save(buffer, "PNG")
    pixels = decode_crop(open_picture(buffer.getvalue()), (3, 4, 50, 60), (50, 60))
    assert (pixels.numpy() == np.asarray(photo(90, 70))[3:53, 4:64].transpose(2, 0, 1)).all()
    assert decode_crop(open_picture(buffer.getvalue()), (0, 0, 70, 90), (20, 30), "L", "bicubic").shape == (1, 20, 30)


@pytest.mark.parametrize("size", [(64, 64), (20, 20)])
def test_a_truncated_jpeg_is_named(size, photo):
    data = _jpeg(photo(100, 100))
    with pytest.raises(BrokenPictureError, match=r"^cut\.jpg is a broken picture") as error:
        decode_crop(open_picture(data[: len(data) // 2], "cut.jpg"), (0, 0, 100, 100), size)
    assert "\n" not in str(error.value)
