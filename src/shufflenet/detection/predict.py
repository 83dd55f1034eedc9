"""Boxes for pictures that nobody annotated: as data, and drawn."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes

from shufflenet.data.pictures import read_picture
from shufflenet.detection.dataset import read_pixels
from shufflenet.detection.detector import Detector, device_of
from shufflenet.detection.evaluate import Finder, xywh

# Tableau's ten: easy to tell apart on a photograph.
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


@dataclass(frozen=True)
class FoundObject:
    """One object: its class, how sure the detector is of it, and x, y, width, height in pixels of the picture."""

    label: str
    category_id: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundObjects:
    """What was found in one picture, the surest first."""

    picture: str
    width: int
    height: int
    detections: tuple[FoundObject, ...]


@torch.inference_mode()
def predict(
    detector: Detector, path: str | Path, *, threshold: float = 0.5, find: Finder | None = None
) -> FoundObjects:
    """Find objects in a picture file; those with a score of at least `threshold` are kept.

    `find`, if given, looks in the detector's place (the compiled one). Raises UserError if the file is no picture.
    """
    pixels = read_pixels(path)
    (output,) = (find or detector.eval())([pixels.to(device_of(detector))])
    categories = [detector.config.categories[label - 1] for label in output["labels"].tolist()]
    found = zip(categories, output["scores"].tolist(), xywh(output["boxes"]), strict=True)
    height, width = pixels.shape[1:]
    return FoundObjects(
        picture=str(path),
        width=width,
        height=height,
        detections=tuple(
            FoundObject(category.name, category.id, score, (box[0], box[1], box[2], box[3]))
            for category, score, box in found
            if score >= threshold
        ),
    )


def draw(prediction: FoundObjects) -> Image.Image:
    """The picture with boxes and labels on it, a colour a class."""
    picture = read_picture(prediction.picture)
    if not prediction.detections:
        return picture
    boxes = torch.tensor([detection.box for detection in prediction.detections])
    boxes[:, 2:] += boxes[:, :2]
    drawn = draw_bounding_boxes(
        pil_to_tensor(picture),
        boxes,
        labels=[f"{detection.label} {detection.score:.0%}" for detection in prediction.detections],
        colors=[COLOURS[detection.category_id % len(COLOURS)] for detection in prediction.detections],
        width=max(1, round(min(prediction.width, prediction.height) / 200)),
    )
    return to_pil_image(drawn)


def drawing_names(pictures: Iterable[str | Path]) -> Iterator[str]:
    """A file name for each drawing: the picture's own, as PNG, with -2, -3, … where pictures of other folders share it."""
    taken: set[str] = set()
    for picture in pictures:
        stem = Path(picture).stem
        name, number = f"{stem}.png", 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.casefold())
        yield name
