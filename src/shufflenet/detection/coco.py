"""Annotations in COCO's format: reading and checking them, and the layouts of folders that hold them."""

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shufflenet.data.datasets import Split
from shufflenet.data.folders import refuse_unreadable
from shufflenet.detection.coco_json import AnnotationRecord, ImageRecord, read_coco_json
from shufflenet.detection.config import Category
from shufflenet.errors import UserError

COCO_CATEGORIES = 80
# A few of the pictures may be missing where the folder is the right one.
FILES_TRIED = 100


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and its k objects, as the file has them: boxes float64 [k, 4] are x, y, width, height in pixels."""

    id: int
    path: str
    width: int
    height: int
    boxes: np.ndarray
    category_ids: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    annotation_ids: tuple[Any, ...]

    def usable(self) -> np.ndarray:
        """Which objects one can learn from, bool [k]: single ones whose box, clipped to the picture, has an area."""
        corners = self.corners()
        return ~self.crowd & (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])

    def corners(self) -> np.ndarray:
        """The boxes as x1, y1, x2, y2, clipped to the picture: float64 [k, 4]."""
        corners = np.concatenate((self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]), axis=1)
        return corners.clip(0, np.array((self.width, self.height) * 2, dtype=float))


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says. `notes` are sentences on what will be left out of training."""

    path: Path
    categories: tuple[Category, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file and the folder of its pictures; `only` and `without` name files whose image ids select among them."""

    annotations: Path
    pictures: Path | None = None
    only: Path | None = None
    without: Path | None = None


def _pictures_folder(source: AnnotationFile, files: Sequence[str]) -> Path:
    beside = source.annotations.parent
    # A path from inside the folder has no parent by name.
    above = beside.parent if beside.name not in ("", "..") else beside / ".."
    # COCO's train2017 lies beside its annotations/instances_train2017.json.
    split = source.annotations.stem.removeprefix("instances_")
    if source.pictures:
        candidates = [source.pictures, source.pictures / split]
    else:
        candidates = [beside, beside / "images", above / "images", above / split, above]
    for folder in candidates:
        if any((folder / file).is_file() for file in files[:FILES_TRIED]):
            return folder
    places = ", ".join(map(str, candidates))
    raise UserError(
        f"{files[0]}, the first picture of {source.annotations}, is not in {places}; name its folder with --pictures"
    )


def _objects(
    records: Sequence[AnnotationRecord], path: Path, image_ids: Set[int], category_ids: Set[int]
) -> dict[int, list[AnnotationRecord]]:
    """For each image id its objects. Raises UserError for one of an image or a category that the file does not list."""
    objects: dict[int, list[AnnotationRecord]] = {image_id: [] for image_id in image_ids}
    for number, record in enumerate(records):
        record = record if record.id is not None else replace(record, id=f"number {number}")
        what = f"annotation {record.id} of {path}"
        if record.image_id not in image_ids:
            raise UserError(f"{what} belongs to image {record.image_id}, which the file does not list; take it out")
        if record.category_id not in category_ids:
            raise UserError(f"{what} has category {record.category_id}, which the file does not list; correct it")
        objects[record.image_id].append(record)
    return objects


def _picture(image: ImageRecord, objects: Sequence[AnnotationRecord], folder: Path) -> Picture:
    return Picture(
        id=image.id,
        path=str(folder / image.file_name),
        width=image.width,
        height=image.height,
        boxes=np.array([record.bbox for record in objects], dtype=float).reshape(-1, 4),
        category_ids=np.array([record.category_id for record in objects], dtype=np.int64),
        areas=np.array([record.area_pixels for record in objects], dtype=float),
        crowd=np.array([bool(record.iscrowd) for record in objects], dtype=bool),
        annotation_ids=tuple(record.id for record in objects),
    )


def _notes(pictures: tuple[Picture, ...], path: Path) -> Iterator[str]:
    for picture in pictures:
        for index in np.flatnonzero(~picture.usable() & ~picture.crowd):
            box = picture.boxes[index].tolist()
            yield (
                f"annotation {picture.annotation_ids[index]} of {path} has no area inside picture {picture.id} (bbox {box}); "
                "it is left out of training"
            )


def _image_ids(path: Path) -> set[int]:
    return {image.id for image in read_coco_json(path).images}


def read_annotations(source: AnnotationFile) -> Annotations:
    """Read and check one annotation file: every image, annotation and category, but not the pictures themselves.

    Raises UserError that names the broken one: the wrong type, an unknown image or category, two images of one id, a box that
    is not four numbers. Two images may share a file name. Boxes without an area are kept, since evaluation counts them, and
    are noted; COCO itself has two.
    """
    path = source.annotations
    record = read_coco_json(path)
    images: dict[int, ImageRecord] = {}
    for image in record.images:
        if image.id in images:
            raise UserError(f"{path} lists image {image.id} twice; give one of them another id")
        images[image.id] = image
    if not images:
        raise UserError(f"{path} lists no images; a data set needs at least one")
    objects = _objects(record.annotations, path, images.keys(), {category.id for category in record.categories})
    folder = _pictures_folder(source, [image.file_name for image in record.images])
    chosen = images.keys()
    if source.only:
        chosen = chosen & _image_ids(source.only)
    if source.without:
        chosen = chosen - _image_ids(source.without)
    pictures = tuple(_picture(image, objects[image.id], folder) for image in record.images if image.id in chosen)
    categories = tuple(sorted(record.categories, key=lambda category: category.id))
    return Annotations(path, categories, pictures, tuple(_notes(pictures, path)))


def merge(parts: list[Annotations]) -> Annotations:
    """Several files as one data set. Raises UserError if they do not have the same categories."""
    first = parts[0]
    for part in parts[1:]:
        if part.categories != first.categories:
            raise UserError(f"{part.path} and {first.path} have different categories; a data set has one list of them")
    return replace(
        first,
        pictures=tuple(picture for part in parts for picture in part.pictures),
        notes=tuple(note for part in parts for note in part.notes),
    )


def find_annotation_files(path: Path, split: Split, pictures: Path | None = None) -> tuple[AnnotationFile, ...]:
    """The annotation files of one split of `path`: a folder as below, or an annotation file, which is its own only split.

    - COCO as downloaded: annotations/instances_{train2017,val2017}.json beside folders train2017 and val2017.
    - COCO of 2014: train2014 and val2014, with the paper's minival split: its 5,000 images are the test split, the rest of
      val2014 joins train2014. The ids come from annotations/instances_minival2014.json, or from instances_val2017.json, since
      val2017 is that split.
    - annotations/instances_{train,val}.json beside folders train and val: one's own data, or what `detect scenes` makes.
    - train/_annotations.coco.json and valid/_annotations.coco.json with their pictures beside them, as Roboflow exports.

    Raises UserError for anything else.
    """
    if path.is_file():
        return (AnnotationFile(path, pictures),)
    folder = path / "annotations"

    def file(name: str) -> Path:
        return folder / f"instances_{name}.json"

    for train, test in (("train2017", "val2017"), ("train", "val")):
        name = train if split == "train" else test
        if file(name).is_file() and (path / name).is_dir():
            return (AnnotationFile(file(name), pictures or path / name),)
    if file("val2014").is_file() and (path / "val2014").is_dir():
        minival = next((file(name) for name in ("minival2014", "val2017") if file(name).is_file()), None)
        if minival is None:
            raise UserError(
                f"{folder} does not say which images are minival; put instances_minival2014.json or instances_val2017.json there"
            )
        if split == "test":
            return (AnnotationFile(file("val2014"), path / "val2014", only=minival),)
        return (
            AnnotationFile(file("train2014"), path / "train2014"),
            AnnotationFile(file("val2014"), path / "val2014", without=minival),
        )
    exported = path / ("train" if split == "train" else "valid") / "_annotations.coco.json"
    if exported.is_file():
        return (AnnotationFile(exported, pictures or exported.parent),)
    raise UserError(
        f"{path} holds no {split} split in COCO's format; it needs annotations/instances_{{train,val}}.json beside folders train and val, "
        "or COCO's own names of 2014 or 2017, or give an annotation file"
    )


def dataset_name(path: str | Path, categories: Sequence[Category]) -> str:
    """What to call a data set in a record: "coco" for COCO as downloaded, with its 80 categories, else its folder's or file's name."""
    path = Path(path)
    laid_out = any((path / name).is_dir() for name in ("val2014", "val2017"))
    return "coco" if laid_out and len(categories) == COCO_CATEGORIES else path.resolve().stem


def open_split(path: str | Path, split: Split, pictures: str | Path | None = None) -> Annotations:
    """Read one split of a COCO folder, or an annotation file; see `find_annotation_files`."""
    path, pictures = Path(path), Path(pictures) if pictures else None
    if not path.exists():
        raise UserError(f"there is no {path}; give a folder in COCO's layout, or an annotation file")
    annotations = merge([read_annotations(source) for source in find_annotation_files(path, split, pictures)])
    # Absolute, since the paths begin with the folder already.
    refuse_unreadable(path, [os.path.abspath(picture.path) for picture in annotations.pictures])
    return annotations
