"""Pictures that visitors can try."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from shufflenet.data.fashion_mnist import CLASSES, open_bundled
from shufflenet.data.pictures import read_picture
from shufflenet.detection.scenes import scene
from shufflenet.web.subject import Subject

SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
SCENES = 6
SCENE_PIXELS = 192


@dataclass(frozen=True)
class Sample:
    """A picture: what it is called, and its file."""

    name: str
    suffix: str
    content: bytes


def read_sample(path: Path) -> Sample:
    """A picture file as it is, or as PNG where browsers do not show its format. Raises UserError for what is no picture."""
    picture = read_picture(path)
    suffix = path.suffix.lower()
    if suffix in SHOWN_BY_BROWSERS:
        return Sample(path.stem, suffix, path.read_bytes())
    return Sample(path.stem, ".png", _encoded(picture, "PNG"))


def bundled_samples(subject: Subject) -> list[Sample]:
    """For garments, pictures that the package has: one of each class, or scenes of several. Else none."""
    if subject.classes != CLASSES:
        return []
    garments = open_bundled("test")
    if subject.task == "detect":
        scenes = [scene(np.random.default_rng(seed), garments, SCENE_PIXELS).picture for seed in range(SCENES)]
        return [Sample(f"scene {i}", ".jpg", _encoded(picture, "JPEG")) for i, picture in enumerate(scenes, 1)]
    pictures = [Image.fromarray(pixels[0].numpy()) for pixels in garments.images[: len(CLASSES)]]
    return [Sample(name, ".png", _encoded(picture, "PNG")) for name, picture in zip(CLASSES, pictures, strict=True)]


def _encoded(picture: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()
