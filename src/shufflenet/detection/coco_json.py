"""An annotation file in COCO's format as it is written: its records, their types, and a sentence for the first that is broken."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shufflenet.detection.config import Category
from shufflenet.errors import UserError
from shufflenet.text_files import read_text

# These bounds refuse infinities and NaN alone.
Number = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Length = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Side = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A picture: its file's name below the folder of pictures, its sides in pixels."""

    id: int
    file_name: str
    width: Side
    height: Side


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """An object of a picture: x, y, width and height of its box in pixels."""

    image_id: int
    category_id: int
    bbox: tuple[Number, Number, Length, Length]
    area: Number | UnsetType = UNSET
    iscrowd: bool | int = False
    id: Any = None

    @property
    def area_pixels(self) -> float:
        """The area that the file gives (of the object's outline, in COCO), or the box's."""
        return self.bbox[2] * self.bbox[3] if isinstance(self.area, UnsetType) else self.area


@dataclass(frozen=True, slots=True)
class CocoRecord:
    """All of the file that is read here."""

    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[Category]


# What would do, by field; else the general advice.
REMEDIES = {
    "width": "it is at least 1 pixel",
    "height": "it is at least 1 pixel",
    "bbox": "it is [x, y, width, height] in pixels, none infinite, no negative size",
    "area": "it is a number of pixels, and may be left out",
    "iscrowd": "it is 0 or 1, and may be left out",
}
SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}
ADVICE = "correct it, or take it out of the file"
# Where msgspec says that a value is wrong, "$.annotations[3].bbox[2]", and which field it misses, "`bbox`".
PLACE = re.compile(r"at `\$\.(?P<section>\w+)(?:\[(?P<number>\d+)\])?(?:\.(?P<field>\w+))?")
MISSING = re.compile(r"required field `(?P<field>\w+)`")


def read_coco_json(path: Path) -> CocoRecord:
    """Decode a file. Raises UserError if it is not JSON or not COCO's, naming the record that has a wrong field or lacks one."""
    try:
        record = json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    for section in SINGULAR:
        if not isinstance(record, dict) or section not in record:
            raise UserError(
                f"{path} has no {section!r}; annotations in COCO's format have images, annotations, categories"
            )
    try:
        return msgspec.convert(record, CocoRecord)
    except msgspec.ValidationError as error:
        raise UserError(_complaint(record, str(error), path)) from error


def _complaint(file: dict[str, Any], message: str, path: Path) -> str:
    place = PLACE.search(message)
    assert place is not None
    section, number = place["section"], place["number"]
    if number is None:
        return f"{section} of {path} is {file[section]!r:.80}; it is a list"
    record = file[section][int(number)]
    identity = record.get("id") if isinstance(record, dict) else None
    name = f"{SINGULAR[section]} {identity if isinstance(identity, int | str) else f'number {number}'}"
    missing = MISSING.search(message)
    field = missing["field"] if missing else place["field"]
    if field is None:
        return f"{name} of {path} is {record!r:.80}; it is an object with fields"
    return f"{name} of {path} has {field} {record.get(field)!r}; {REMEDIES.get(field, ADVICE)}"
