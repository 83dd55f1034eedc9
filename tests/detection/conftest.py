"""Small annotation files, and a detector small enough for tests."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shufflenet.detection import Category, Detector, build_detector, detector_config, open_split

TINY = {
    "anchor_sizes": ((16,), (32,), (64,), (128,)),
    "pool_size": 4,
    "pyramid_channels": 32,
    "head_channels": 64,
    "anchors_per_picture": 64,
    "regions_per_picture": 32,
    "proposals_train": 50,
    "proposals_test": 30,
}


@pytest.fixture
def write_coco(tmp_path):
    """Writes pictures and an annotation file that holds `annotations`; fields of its records can be replaced. Returns its path."""

    def write(annotations, *, images=None, categories=None, name="data.json") -> Path:
        if images is None:
            images = [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}]
        for image in images:
            path = tmp_path / "images" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                noise = np.random.default_rng(image["id"]).integers(0, 255, (image["height"], image["width"], 3))
                Image.fromarray(noise.astype(np.uint8)).save(path)
        if categories is None:
            categories = [{"id": 7, "name": "cup"}, {"id": 3, "name": "bowl"}]
        record = {"images": images, "annotations": annotations, "categories": categories}
        path = tmp_path / name
        path.write_text(json.dumps(record))
        return path

    return write


@pytest.fixture
def box():
    """A sound annotation, with fields replaced."""

    def make(**fields):
        return {
            "id": 1,
            "image_id": 1,
            "category_id": 7,
            "bbox": [10, 20, 30, 40],
            "area": 1200,
            "iscrowd": 0,
            **fields,
        }

    return make


@pytest.fixture
def read(write_coco):
    """The annotations of a file with these records."""
    return lambda annotations, **records: open_split(write_coco(annotations, **records), "train")


@torch.no_grad()
def settle_batch_norm(detector):
    """Take BN's statistics from noise: with those it is born with, activations grow by the unit and every score is 0 or 1."""
    norms = [module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    (first, *_) = detector.train().backbone(torch.randn(4, 3, 64, 64)).values()
    detector.roi_heads.box_head(torch.nn.functional.adaptive_avg_pool2d(first, detector.config.pool_size))
    for norm in norms:
        norm.momentum = 0.1


@pytest.fixture
def make_detector():
    """A seeded detector in eval mode."""

    def make(
        categories=("bowl", "cup"), *, variant="shufflenet_x0_25_g3", layout="fpn", short_side=64, **fields
    ) -> Detector:
        backbone = {"name": variant, "num_classes": 1, "in_channels": 3, "stem": "imagenet"}
        named = tuple(Category(number, name) for number, name in enumerate(categories, start=1))
        defaults = TINY if layout == "fpn" else {"pool_size": 4, "regions_per_picture": 8, "proposals_test": 10}
        torch.manual_seed(0)
        detector = build_detector(
            detector_config(backbone, named, layout=layout, short_side=short_side, **{**defaults, **fields})
        )
        settle_batch_norm(detector)
        return detector.eval()

    return make
