import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shufflenet.data.pictures import BrokenPictureError, open_picture, read_picture


def _file(image: Image.Image, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def _png(header: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_reads_every_format_from_a_file(suffix, tmp_path):
    path = tmp_path / f"picture.{suffix.lower()}"
    Image.new("RGB", (31, 17), (200, 40, 90)).save(path, suffix)
    picture = read_picture(path)
    assert picture.mode == "RGB"
    assert picture.size == (31, 17)
    assert np.abs(np.asarray(picture).astype(int) - (200, 40, 90)).max() <= 6


def test_first_frame_of_a_gif():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    picture = read_picture(_file(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, photo):
    upright = photo(48, 32)
    # The inverse of what a viewer must do, by the EXIF standard's table: stored = how the sensor saw it.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix, options, tolerance in (("PNG", {}, 0), ("JPEG", {"quality": 98, "subsampling": 0}, 10)):
        data = _file(Image.fromarray(np.ascontiguousarray(stored)), suffix, exif=exif, **options)
        picture = read_picture(data)
        assert picture.size == (48, 32)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(upright)).max() <= tolerance
        assert open_picture(data).size == (48, 32)


def test_grey_and_one_bit():
    assert read_picture(_file(Image.new("L", (4, 4), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)
    assert read_picture(_file(Image.new("1", (4, 4), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_palette_with_and_without_transparency():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert read_picture(_file(palette, "PNG")).getpixel((0, 0)) == (10, 20, 30)
    assert read_picture(_file(palette, "PNG", transparency=1)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("RGBA", (0, 0, 0, 0), (255,) * 3),
        ("RGBA", (200, 100, 0, 51), (244, 224, 204)),
        ("LA", (0, 255), (0,) * 3),
        ("LA", (0, 0), (255,) * 3),
    ],
)
def test_transparency_is_laid_on_white(mode, color, seen):
    assert read_picture(_file(Image.new(mode, (4, 4), color), "PNG")).getpixel((0, 0)) == seen
    assert read_picture(_file(Image.new(mode, (4, 4), color), "PNG"), mode="L").getpixel((0, 0)) == pytest.approx(
        round(np.dot(seen, (0.299, 0.587, 0.114))), abs=1
    )


def test_cmyk_jpeg():
    picture = read_picture(_file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.asarray(picture).astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(suffix):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    assert (
        np.asarray(read_picture(_file(Image.fromarray(values), suffix), mode="L")) == np.arange(256).reshape(16, 16)
    ).all()


def test_16_bit_rgb_png_is_scaled_not_clipped():
    row = b"\x00" + struct.pack(">3H", 0x8000, 0xFFFF, 0x0100) * 2
    data = _png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), row)
    assert read_picture(data).getpixel((1, 0)) == (0x80, 0xFF, 0x01)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_wide_values_are_stretched(dtype):
    values = np.linspace(-1000, 5000, 64).reshape(8, 8).astype(dtype)
    values = np.append(values, [[values[0, 0]] * 8], axis=0)
    read = np.asarray(read_picture(_file(Image.fromarray(values), "TIFF"), mode="L"))
    assert (read.min(), read.max()) == (0, 255)
    assert np.abs(read - (values + 1000.0) / 6000 * 255).max() <= 1


def test_flat_wide_values():
    assert np.asarray(read_picture(_file(Image.fromarray(np.full((4, 4), 7, np.float32)), "TIFF"))).max() == 0


def test_a_plain_jpeg_is_opened_but_not_decoded(photo):
    lazy = open_picture(_file(photo(64, 48), "JPEG"))
    assert lazy.size == (64, 48)
    assert lazy.fp is not None
    lazy.load()
    assert lazy.fp is None


def test_missing_empty_and_folder(tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path, wrong in ((tmp_path / "no.jpg", "No such file"), (empty, "is empty"), (tmp_path, "directory")):
        with pytest.raises(BrokenPictureError, match=wrong) as error:
            read_picture(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_text_file_named_jpg(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("It was a dark and stormy night")
    with pytest.raises(BrokenPictureError, match=r"text\.jpg is not a picture: .* begins with b'It was a"):
        read_picture(path)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_truncated(suffix, part, photo):
    data = _file(photo(80, 60), suffix)
    with pytest.raises(BrokenPictureError, match=r"^cut\.pic is (a broken|not a) picture"):
        read_picture(data[: int(part * len(data))], "cut.pic")


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damaged_bytes_give_a_picture_or_one_error(suffix, photo):
    data = np.frombuffer(_file(photo(40, 30), suffix), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = data.copy()
        damaged[random.integers(len(data), size=8)] = random.integers(256, size=8)
        try:
            assert read_picture(damaged.tobytes()).mode == "RGB"
        except BrokenPictureError:
            continue


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels and whose data holds none."""
    return _png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"")


def test_a_decompression_bomb_is_refused_from_its_header():
    with pytest.raises(BrokenPictureError, match="absurdly large"):
        read_picture(_png_of_size(50_000, 50_000), "bomb.png")


def test_a_phones_108_megapixels_are_not_a_bomb():
    # Only the header: it opens without a warning (warnings are errors here), and then fails for want of pixels.
    with pytest.raises(BrokenPictureError, match="is a broken picture"):
        read_picture(_png_of_size(12_000, 9_000))


def test_paths_may_be_strings(tmp_path: Path):
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    assert read_picture(str(tmp_path / "a.png")).size == (3, 2)


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1)])
@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
def test_a_thread_is_one_sentence(size, suffix):
    with pytest.raises(BrokenPictureError, match=rf"^thread is absurdly narrow, {size[0]}×{size[1]}; crop it first$"):
        read_picture(_file(Image.new("L", size), suffix), "thread")


def test_a_pointer_of_git_lfs_is_named():
    with pytest.raises(BrokenPictureError, match=r"cat\.jpg is a pointer of Git LFS.*git lfs pull"):
        read_picture(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "cat.jpg")


def test_heic(photo, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = photo(64, 48)
    pillow_heif.from_pillow(picture).save(tmp_path / "photo.heic", quality=95)
    read = read_picture(tmp_path / "photo.heic")
    assert read.size == (64, 48)
    assert np.abs(np.asarray(read).astype(int) - np.asarray(picture)).mean() < 8
    data = (tmp_path / "photo.heic").read_bytes()
    with pytest.raises(BrokenPictureError):
        read_picture(data[: len(data) // 2])


def test_heic_without_its_extra_is_named(monkeypatch):
    monkeypatch.setattr("shufflenet.data.pictures.READS_HEIC", False)
    with pytest.raises(
        BrokenPictureError, match=r"photo\.heic is in the format HEIC; pip install 'shufflenet\[heic\]'"
    ):
        read_picture(b"\0\0\0\x18ftypheic" + bytes(100), "photo.heic")
