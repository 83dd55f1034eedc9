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
def test_whole_decoding_gives_pillows_pixels(mode, options, photo):
    data = _jpeg(photo(75, 53), **options)
    pixels = decode_crop(open_picture(data), (5, 9, 40, 61), (40, 61), mode)
    if mode == "RGB":
        expected = np.asarray(Image.open(io.BytesIO(data)))[5:45, 9:70].transpose(2, 0, 1)
    else:  # the file's own luma channel, which is what grey means to libjpeg
        grey = Image.open(io.BytesIO(data))
        grey.draft("L", grey.size)
        expected = np.asarray(grey)[None, 5:45, 9:70]
    assert pixels.dtype == torch.uint8
    assert (pixels.numpy() == expected).all()


@pytest.mark.parametrize(
    ("eighths", "width", "height"),
    [(8, 223, 140), (8, 300, 127), (4, 224, 131), (3, 300, 180), (2, 449, 260), (1, 900, 515)],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_scaled_decoding_sees_what_full_decoding_sees(eighths, width, height, mode, photo):
    """The crop scaled from all pixels, against the crop of a picture that libjpeg scaled down before."""
    image, box, size = photo(width + 30, height + 20), (11, 13, height, width), (64, 112)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    least = (math.ceil(image.height * size[0] / height), math.ceil(image.width * size[1] / width))
    decoded = decode_jpeg(open_picture(buffer.getvalue()), mode, least)
    assert decoded is not None
    assert decoded.shape[1:] == (math.ceil(image.height * eighths / 8), math.ceil(image.width * eighths / 8))
    pixels = decode_crop(open_picture(buffer.getvalue()), box, size, mode).numpy().astype(float)
    expected = np.asarray(
        Image.open(buffer)
        .convert(mode)
        .resize(size[::-1], Image.Resampling.BILINEAR, (13, 11, 13 + width, 11 + height))
    )
    expected = expected.transpose(2, 0, 1) if mode == "RGB" else expected[None]
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 4
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.98


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
