"""COCO's figures for a detector: mAP[.5:.95], AP at 0.5 and 0.75, and by size. faster-coco-eval does the matching."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from shufflenet.data import batches, reading_processes
from shufflenet.detection.coco import Annotations
from shufflenet.detection.dataset import DetectionDataset, collate
from shufflenet.detection.detector import Detector, device_of
from shufflenet.errors import UserError

# Pictures, RGB float32 [3, h, w] from 0 to 1 → for each boxes, labels and scores, as a detector gives them.
Finder = Callable[[list[Tensor]], list[dict[str, Tensor]]]
CocoDetection = dict[str, Any]  # one detection, as COCO's result files have it: image_id, category_id, bbox, score


@dataclass(frozen=True)
class DetectionScores:
    """COCO's figures, each from 0 to 1; None where the data has no such objects.

    `average_precision` is mAP[.5:.95]. Small is below 32² pixels, large above 96², of the original picture. `categories` holds
    mAP[.5:.95] by name.
    """

    pictures: int
    objects: int
    average_precision: float | None
    average_precision_50: float | None
    average_precision_75: float | None
    average_precision_small: float | None
    average_precision_medium: float | None
    average_precision_large: float | None
    average_recall: float | None
    categories: dict[str, float | None]


def xywh(boxes: Tensor) -> list[list[float]]:
    """Corners [k, 4] → COCO's x, y, width, height."""
    corners = boxes.double().cpu()
    return torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), dim=1).tolist()


@torch.inference_mode()
def detect(
    detector: Detector,
    annotations: Annotations,
    *,
    batch_size: int = 1,
    workers: int = 0,
    find: Finder | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[CocoDetection]:
    """What `detector` finds in every picture, as COCO's result rows with the ids that `annotations` has.

    Under several processes each takes its share of the pictures, and all of them get all rows. A batch of more than one pads
    pictures of different sizes together, which moves scores a little. `on_batch(pictures done, pictures)` is called as it goes on,
    with this process's share. The detector is left in eval mode; `find`, if given, looks in its place (the compiled one).
    """
    state = PartialState()
    dataset = DetectionDataset(annotations, detector.config.categories)
    category_ids = {label: category_id for category_id, label in dataset.labels.items()}
    mine = range(state.process_index, len(dataset), state.num_processes)
    loader = DataLoader(
        Subset(dataset, mine), batch_size=batch_size, num_workers=reading_processes(workers), collate_fn=collate
    )
    detector.eval()
    device = device_of(detector)
    rows: list[CocoDetection] = []
    done = 0
    for pictures, _ in batches(loader):
        for output in (find or detector)([picture.to(device) for picture in pictures]):
            image_id = annotations.pictures[mine[done]].id
            done += 1
            found = zip(xywh(output["boxes"]), output["labels"].tolist(), output["scores"].tolist(), strict=True)
            rows += [
                {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
                for box, label, score in found
                if label in category_ids  # a class that these annotations do not have
            ]
        if on_batch:
            on_batch(done, len(mine))
    return gather_object(rows) if state.num_processes > 1 else rows


def _ground_truth(annotations: Annotations) -> dict[str, Any]:
    images = [{"id": picture.id, "width": picture.width, "height": picture.height} for picture in annotations.pictures]
    objects = [
        {
            "image_id": picture.id,
            "category_id": int(picture.category_ids[index]),
            "bbox": picture.boxes[index].tolist(),
            "area": float(picture.areas[index]),
            "iscrowd": int(picture.crowd[index]),
        }
        for picture in annotations.pictures
        for index in range(len(picture.boxes))
    ]
    # Numbered here: two annotations of one id would shadow each other in the evaluation, and id 0 would count as no match.
    numbered = [{**record, "id": number} for number, record in enumerate(objects, start=1)]
    categories = [{"id": category.id, "name": category.name} for category in annotations.categories]
    return {"images": images, "annotations": numbered, "categories": categories}


def score(annotations: Annotations, results: list[CocoDetection]) -> DetectionScores:
    """Score result rows against the annotations, crowds ignored as COCO does. Raises UserError without the extra `detection`."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise UserError("COCO's figures need faster-coco-eval; pip install 'shufflenet[detection]'") from error
    truth = COCO(_ground_truth(annotations))
    evaluation = COCOeval_faster(truth, truth.loadRes([dict(row) for row in results]), iouType="bbox")
    evaluation.run()
    figures = {name: None if value < 0 else value for name, value in evaluation.stats_as_dict.items()}
    # [thresholds, recalls, categories] for all sizes, 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]

    def mean(values: np.ndarray) -> float | None:
        known = values[values > -1]
        return float(known.mean()) if known.size else None

    names = {category.id: category.name for category in annotations.categories}
    return DetectionScores(
        pictures=len(annotations.pictures),
        objects=sum(int((~picture.crowd).sum()) for picture in annotations.pictures),
        average_precision=figures["AP_all"],
        average_precision_50=figures["AP_50"],
        average_precision_75=figures["AP_75"],
        average_precision_small=figures["AP_small"],
        average_precision_medium=figures["AP_medium"],
        average_precision_large=figures["AP_large"],
        average_recall=figures["AR_third"],
        categories={names[id]: mean(precision[:, :, index]) for index, id in enumerate(evaluation.params.catIds)},
    )


def evaluate(detector: Detector, annotations: Annotations, **options: Any) -> DetectionScores:
    """`score` of what `detect` finds; the options are `detect`'s."""
    return score(annotations, detect(detector, annotations, **options))
