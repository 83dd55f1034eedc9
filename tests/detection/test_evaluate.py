"""COCO's figures against pycocotools, which faster-coco-eval is independent of."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shufflenet.detection import evaluate, open_split
from shufflenet.detection.evaluate import detect, score

FIGURES = ("", "_50", "_75", "_small", "_medium", "_large")


def reference(path, results):
    """pycocotools' twelve figures on the annotation file itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def random_data(seed, box):
    """Twelve pictures with objects of every size, crowds, none; and detections that are near them, doubled, wrong or missing."""
    random = np.random.default_rng(seed)
    images = [{"id": 10 * i, "file_name": "a.png", "width": 400, "height": 300} for i in range(12)]
    annotations, results = [], []
    for image in images[:-1]:
        for _ in range(random.integers(0, 8)):
            size = random.uniform((2, 2), (200, 150)) ** random.uniform(0.5, 1, 2)
            corner = random.uniform((0, 0), np.array((400, 300)) - size)
            bbox = [*corner.tolist(), *size.tolist()]
            category_id = int(random.choice((3, 7)))
            annotations.append(
                box(
                    id=len(annotations) + 1,
                    image_id=image["id"],
                    category_id=category_id,
                    bbox=bbox,
                    area=bbox[2] * bbox[3] * random.uniform(0.5, 1),  # COCO's areas are those of masks
                    iscrowd=int(random.random() < 0.15),
                )
            )
            for _ in range(random.integers(0, 3)):
                moved = np.array(bbox) + random.normal(0, 0.08, 4) * [*bbox[2:], *bbox[2:]]
                wrong = random.random() < 0.1
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": 10 - category_id if wrong else category_id,
                        "bbox": [*moved[:2].tolist(), *np.abs(moved[2:]).tolist()],
                        "score": round(random.random(), 2),  # ties
                    }
                )
    return images, annotations, results


@pytest.mark.parametrize("seed", range(6))
def test_figures_equal_those_of_pycocotools(write_coco, box, seed):
    images, annotations, results = random_data(seed, box)
    path = write_coco(annotations, images=images)
    scores = score(open_split(path, "test"), results)
    expected = reference(path, json.loads(json.dumps(results)))
    found = [getattr(scores, f"average_precision{name}") for name in FIGURES]
    ours = [-1 if value is None else value for value in found]  # pycocotools' way to say that there is no such object
    np.testing.assert_allclose(ours, expected[:6], atol=1e-6, rtol=0)
    assert scores.average_recall == pytest.approx(expected[8], abs=1e-6)
    assert scores.objects == sum(not annotation["iscrowd"] for annotation in annotations)
    assert np.mean(list(scores.categories.values())) == pytest.approx(scores.average_precision, abs=1e-6)


def test_odd_ids_and_one_pixel_boxes_count_as_in_pycocotools(write_coco, box):
    """An annotation of id 0, and two of one id: pycocotools itself stumbles over both, so it gets sound ids here."""
    boxes = [[0, 0, 1, 1], [99, 79, 1, 1], [0, 0, 100, 80]]
    results = [{"image_id": 1, "category_id": 7, "bbox": bbox, "score": 0.5} for bbox in boxes]
    ids = [0, 4, 4]
    path = write_coco([box(id=id, bbox=bbox, area=bbox[2] * bbox[3]) for id, bbox in zip(ids, boxes, strict=True)])
    assert score(open_split(path, "test"), results).average_precision == pytest.approx(1)
    sound = write_coco([box(id=i, bbox=bbox, area=bbox[2] * bbox[3]) for i, bbox in enumerate(boxes, 1)])
    assert reference(sound, results)[0] == pytest.approx(1)


def test_nothing_found_is_zero_and_no_objects_is_none(read, box):
    scores = score(read([box()]), [])
    assert scores.average_precision == 0
    assert scores.average_precision_large is None
    assert scores.categories == {"bowl": None, "cup": 0}
    assert score(read([]), []).average_precision is None


def test_detections_carry_the_ids_of_the_annotations(read, make_detector, box):
    """A detector's label 1 is "bowl"; these annotations call it 3."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (31, 5)]
    annotations = read([box(image_id=5)], images=images)
    seen = []
    detector = make_detector(score_threshold=0.0)
    rows = detect(detector, annotations, batch_size=2, on_batch=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
    assert {row["image_id"] for row in rows} == {31, 5}
    assert {row["category_id"] for row in rows} == {3, 7}
    for row in rows:
        x, y, width, height = row["bbox"]
        assert min(x, y) >= -1e-4
        assert x + width <= 100 + 1e-3
        assert y + height <= 80 + 1e-3
        assert min(width, height) >= 0
    assert evaluate(detector, annotations) == score(annotations, detect(detector, annotations))


def test_a_class_that_the_data_has_not_is_no_detection_there(read, make_detector, box):
    annotations = read([box()], categories=[{"id": 7, "name": "cup"}])
    rows = detect(make_detector(("bowl", "cup"), score_threshold=0.0), annotations)
    assert {row["category_id"] for row in rows} == {7}
