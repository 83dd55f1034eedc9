"""Picture files as a person sees them: upright, opaque, 8 bits a channel; and what is wrong with those that cannot be seen so."""

import io
import threading
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from shufflenet.errors import UserError

Mode = Literal["RGB", "L"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# A list of our own: Pillow also knows formats that start other programs (EPS) or that nobody means by a picture.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION_TAG = 0x0112
OPENING = threading.Lock()  # the filters of warnings are one set for all threads


class BrokenPictureError(UserError):
    """A file that no picture can be had from: missing, empty, truncated, no picture at all, or absurdly large."""


def read_picture(source: str | Path | bytes, name: str | None = None, mode: Mode = "RGB") -> Image.Image:
    """The picture in a file, or in a file's bytes, as 8-bit RGB, or as 8-bit grey with `mode="L"` (the luma of ITU-R BT.601).

    Reads JPEG, PNG, WebP, BMP, TIFF, PPM and the first frame of a GIF. The EXIF orientation is applied; transparency is laid on
    white; 16-bit values are scaled to 8 bits, not clipped; 32-bit and float values are stretched from their lowest to their
    highest; CMYK is converted without its colour profile.
    Raises BrokenPictureError (a UserError) that names the file, or `name`, and what is wrong with it.
    """
    return decoded(open_picture(source, name), mode)


def open_picture(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """As `read_picture`, except that a plain JPEG comes as Pillow opens it: with its header read and its pixels not yet decoded.

    So a crop can be chosen from its size first, and only what the crop needs be decoded: see `jpeg.decode_crop`. The mode is
    "RGB" or "L", and `filename` is the name for messages.
    """
    if name is None:
        name = "a picture" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise BrokenPictureError(f"{name} is empty")
    try:
        with OPENING, warnings.catch_warnings():
            # Between the sizes at which Pillow warns and refuses (89 and 179 megapixels) lie the pictures of today's phones.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        reason = f"none of {', '.join(FORMATS)} reads a file that begins with {data[:8]!r}"
        raise BrokenPictureError(f"{name} is not a picture: {reason}") from error
    except Image.DecompressionBombError as error:
        raise BrokenPictureError(f"{name} is absurdly large: {error}") from error
    except Exception as error:  # whatever a format's reader makes of a hostile header
        raise BrokenPictureError(f"{name} is a broken picture: {error}") from error
    image.filename = name
    return image if _is_plain_jpeg(image) else decoded(image)


def decoded(image: Image.Image, mode: Mode | None = None) -> Image.Image:
    """An opened picture's pixels, upright and opaque, in `mode` (None: "L" if it is grey, else "RGB").

    Raises BrokenPictureError if they cannot be read.
    """
    name = getattr(image, "filename", "a picture")
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        opaque = _opaque(image)
        return opaque.convert(mode or ("L" if opaque.mode in ("1", "L") else "RGB"))
    except Exception as error:  # whatever a format's reader makes of hostile data
        raise BrokenPictureError(f"{name} is a broken picture: {error}") from error


def _read(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BrokenPictureError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_plain_jpeg(image: Image.Image) -> bool:
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return False
    # Parsing EXIF takes longer than opening the file, so it waits until there is some.
    return not ({"exif", "xmp"} & image.info.keys()) or image.getexif().get(ORIENTATION_TAG, 1) == 1


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in a mode that `convert` turns into RGB or grey as a person expects."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(image)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image


def _stretched(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    low, high = values.min(), values.max()
    return np.round((values - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
