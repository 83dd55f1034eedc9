"""A small detection data set made of real pictures: Fashion-MNIST's garments, pasted on textured backgrounds, in COCO's layout."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from shufflenet import atomic
from shufflenet.detection.coco import Split
from shufflenet.errors import UserError

GARMENT_PIXELS = (32, 80)  # the side of a pasted 28×28 picture, smallest and largest
MOST_GARMENTS = 6
LARGEST_OVERLAP = 0.1  # of the smaller box, so that every garment can be seen
FOLDER_OF_SPLIT: Mapping[Split, str] = {"train": "train", "test": "val"}
ATTEMPTS = 20  # to find a free place, before a garment is left out


@dataclass(frozen=True)
class Scene:
    """A picture and its garments: (class index, x, y, width, height), boxes tight around what is drawn."""

    picture: Image.Image
    garments: tuple[tuple[int, int, int, int, int], ...]


def background(random: np.random.Generator, size: int) -> np.ndarray:
    """A texture, float [size, size, 3] from 0 to 1: noise of three grains over a colour, with stripes across."""
    picture = np.broadcast_to(random.uniform(0.2, 0.8, 3), (size, size, 3)).copy()
    for cells in (2, 6, 24):
        noise = random.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        smooth = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        picture += random.uniform(0.1, 0.35) * (np.asarray(smooth) / 255 - 0.5)
    rows, columns = np.mgrid[:size, :size]
    angle, period = random.uniform(0, np.pi), random.uniform(4, 24)
    stripes = np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period)
    picture += random.uniform(0, 0.1) * stripes[..., None]
    return picture.clip(0, 1)


def _overlap(box: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over the smaller area of two boxes x, y, width, height."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0) / min(box[2] * box[3], other[2] * other[3])


def scene(random: np.random.Generator, garments: Dataset, size: int) -> Scene:
    """One scene of `size` × `size` pixels with one to six garments drawn from `garments`, (grey 28×28 picture, class) each."""
    canvas = background(random, size)
    placed: list[tuple[int, int, int, int, int]] = []
    for _ in range(random.integers(1, MOST_GARMENTS + 1)):
        picture, label = garments[int(random.integers(len(garments)))]  # pyright: ignore[reportArgumentType]
        side = int(random.integers(GARMENT_PIXELS[0], min(GARMENT_PIXELS[1], size) + 1))
        shade = np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BILINEAR)) / 255
        silhouette = picture.convert("L").point(lambda value: 255 if value > 8 else 0)
        mask = np.asarray(silhouette.resize((side, side), Image.Resampling.BILINEAR)) / 255
        rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
        if not len(rows):
            continue
        colour = random.uniform(0.4, 1, 3)
        for _ in range(ATTEMPTS):
            left, top = (int(value) for value in random.integers(0, size - side + 1, 2))
            width, height = int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
            box = (left + int(columns[0]), top + int(rows[0]), width, height)
            if all(_overlap(box, other[1:]) <= LARGEST_OVERLAP for other in placed):
                window = canvas[top : top + side, left : left + side]
                window += mask[..., None] * (shade[..., None] * colour - window)
                placed.append((int(label), *box))
                break
    return Scene(Image.fromarray((canvas * 255).round().astype(np.uint8)), tuple(placed))


def make_scenes(
    folder: Path,
    open_garments: Callable[[Split], Any],
    *,
    train: int = 4000,
    test: int = 500,
    size: int = 128,
    seed: int = 0,
) -> None:
    """Write `train` and `test` scenes into `folder` as COCO lays its own out: train/, val/, annotations/instances_{train,val}.json.

    `open_garments(split)` gives the data set of a split, "train" or "test", so that no garment is in both kinds of scene. The same
    seed gives the same scenes. Raises UserError if the folder holds anything, or for sizes that no garment fits.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; choose another folder, or remove it")
    if size < GARMENT_PIXELS[0] or min(train, test) < 1:
        raise UserError(
            f"size is {size}, train {train} and test {test}; a scene has at least {GARMENT_PIXELS[0]} pixels, and each split a scene"
        )
    with atomic.writing_folder(folder) as complete:
        _write_scenes(complete, open_garments, {"train": train, "test": test}, size, seed)


def _write_scenes(
    folder: Path, open_garments: Callable[[Split], Any], scenes: Mapping[Split, int], size: int, seed: int
) -> None:
    (folder / "annotations").mkdir()
    for number, (split, count) in enumerate(scenes.items()):
        name = FOLDER_OF_SPLIT[split]
        garments = open_garments(split)
        (folder / name).mkdir()
        images, annotations = [], []
        for index in range(count):
            # A generator for each scene: more scenes do not change the first ones.
            made = scene(np.random.default_rng((seed, number, index)), garments, size)
            file_name = f"{index:06d}.jpg"
            made.picture.save(folder / name / file_name, quality=92)
            images.append({"id": index + 1, "file_name": file_name, "width": size, "height": size})
            for label, *box in made.garments:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": label + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": label + 1, "name": garment} for label, garment in enumerate(garments.classes)]
        record = {"images": images, "annotations": annotations, "categories": categories}
        path = folder / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(record), encoding="utf-8")
