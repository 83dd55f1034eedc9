"""The one door for pictures: as a person sees them, upright, opaque, 8 bits a channel; and what is wrong with those that cannot be."""

import importlib.util
import io
import os
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from shufflenet.errors import UserError

Mode = Literal["RGB", "L"]

HEIC_SUFFIXES = frozenset({".heic", ".heif"})
HEIC_HINT = "pip install 'shufflenet[heic]' reads HEIC"
READS_HEIC = importlib.util.find_spec("pillow_heif") is not None
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
).union(HEIC_SUFFIXES if READS_HEIC else ())
# A list of our own: Pillow also knows formats that start other programs (EPS) or that nobody means by a picture.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
LFS_POINTER = b"version https://git-lfs"
# Past this, a picture whose short side is scaled to a network's input takes gigabytes, or its short side shrinks to nothing.
LARGEST_ASPECT = 200
ORIENTATION_TAG = 0x0112
# The filters of warnings are one set for all threads.
OPENING = threading.Lock()


class BrokenPictureError(UserError):
    """A file that no picture can be had from: missing, empty, truncated, no picture at all, or absurdly large or narrow."""


def shown(path: str | Path) -> str:
    """A path as a person reads it: what is not UTF-8 in it becomes a replacement character, so that it can be printed and stored."""
    return os.fsencode(path).decode("utf-8", "replace")


def read_picture(source: str | Path | bytes, name: str | None = None, mode: Mode = "RGB") -> Image.Image:
    """The picture in a file, or in a file's bytes, as 8-bit RGB, or as 8-bit grey with `mode="L"` (the luma of ITU-R BT.601).

    Reads JPEG, PNG, WebP, BMP, TIFF, PPM, the first frame of a GIF, and HEIC where pillow-heif is installed. The EXIF
    orientation is applied; transparency is laid on white; 16-bit values are scaled to 8 bits, not clipped; 32-bit and float
    values are stretched from their lowest to their highest; CMYK is converted without its colour profile.
    Raises BrokenPictureError (a UserError) that names the file, or `name`, and what is wrong with it.
    """
    return decoded(open_picture(source, name), mode)


def open_picture(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """As `read_picture`, except that a plain JPEG comes as Pillow opens it: with its header read and its pixels not yet decoded.

    So a crop can be chosen from its size first, and only what the crop needs be decoded: see `jpeg.decode_crop`. The mode is
    "RGB" or "L", and `filename` is the name for messages.
    """
    if name is None:
        name = "a picture" if isinstance(source, bytes) else shown(source)
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise BrokenPictureError(f"{name} is empty")
    if data.startswith(LFS_POINTER):
        raise BrokenPictureError(f"{name} is a pointer of Git LFS, not the picture; `git lfs pull` fetches it")
    formats = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        if not READS_HEIC:
            raise BrokenPictureError(f"{name} is in the format HEIC; {HEIC_HINT}")
        from pillow_heif import register_heif_opener

        register_heif_opener()
        formats = ("HEIF",)
    try:
        with OPENING, warnings.catch_warnings():
            # Between the sizes at which Pillow warns and refuses (89 and 179 megapixels) lie the pictures of today's phones.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=formats)
    except Image.UnidentifiedImageError as error:
        reason = f"none of {', '.join(formats)} reads a file that begins with {data[:8]!r}"
        raise BrokenPictureError(f"{name} is not a picture: {reason}") from error
    except Image.DecompressionBombError as error:
        raise BrokenPictureError(f"{name} is absurdly large: {error}") from error
    # Whatever a format's reader makes of a hostile header.
    except Exception as error:
        raise BrokenPictureError(f"{name} is a broken picture: {error}") from error
    if max(image.size) > LARGEST_ASPECT * min(image.size):
        raise BrokenPictureError(f"{name} is absurdly narrow, {image.width}×{image.height}; crop it first")
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
    # Whatever a format's reader makes of hostile data.
    except Exception as error:
        raise BrokenPictureError(f"{name} is a broken picture: {error}") from error


def _read(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BrokenPictureError(f"{shown(path)} cannot be read: {error.strerror or error}") from error


def unreadable_files(paths: Iterable[str]) -> dict[str, list[str]]:
    """What can be told of picture files at once, without decoding them: by kind.

    The kinds are "missing", "links to nothing", "empty" and "pointers of Git LFS".
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        try:
            size = os.stat(path).st_size
        except OSError:
            found.setdefault("links to nothing" if os.path.islink(path) else "missing", []).append(path)
            continue
        if size == 0:
            found.setdefault("empty", []).append(path)
        # A pointer is some 130 bytes, and no picture worth learning from is.
        elif size < 1024 and _begins_with(path, LFS_POINTER):
            found.setdefault("pointers of Git LFS", []).append(path)
    return found


def _begins_with(path: str, beginning: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False


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
