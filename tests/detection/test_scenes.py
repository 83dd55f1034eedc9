"""Scenes of garments: repeatable, within their pictures, no garment hidden by another, the splits apart."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from shufflenet.data import open_dataset
from shufflenet.detection import open_split
from shufflenet.detection.scenes import LARGEST_OVERLAP, make_scenes, scene
from shufflenet.errors import UserError

garments = partial(open_dataset, "fashion-mnist-7k")


def test_the_folder_is_cocos_and_repeatable(tmp_path):
    for name in ("one", "two"):
        make_scenes(tmp_path / name, garments, train=3, test=2, size=96, seed=5)
    make_scenes(tmp_path / "more", garments, train=4, test=2, size=96, seed=5)
    make_scenes(tmp_path / "other", garments, train=3, test=2, size=96, seed=6)
    first, second, more, other = (open_split(tmp_path / name, "train") for name in ("one", "two", "more", "other"))
    assert [len(open_split(tmp_path / "one", split).pictures) for split in ("train", "test")] == [3, 2]
    assert [category.name for category in first.categories] == list(garments("train").classes)
    for a, b, c in zip(first.pictures, second.pictures, more.pictures, strict=False):
        assert a.boxes.tolist() == b.boxes.tolist() == c.boxes.tolist()
        np.testing.assert_array_equal(Image.open(a.path), Image.open(b.path))
    assert first.pictures[0].boxes.tolist() != other.pictures[0].boxes.tolist()
    with pytest.raises(UserError, match="is there already"):
        make_scenes(tmp_path / "one", garments)


def test_scenes_are_made_of_their_own_split(tmp_path):
    asked = []
    make_scenes(tmp_path / "scenes", lambda split: asked.append(split) or garments(split), train=1, test=1, size=64)
    assert asked == ["train", "test"]


def test_boxes_are_tight_and_apart():
    pictures = garments("test")
    counts = set()
    for seed in range(30):
        made = scene(np.random.default_rng(seed), pictures, 128)
        counts.add(len(made.garments))
        boxes = np.array([box for _, *box in made.garments])
        assert boxes[:, :2].min() >= 0
        assert (boxes[:, :2] + boxes[:, 2:]).max() <= 128
        for i, (x, y, w, h) in enumerate(boxes):
            for other in boxes[:i]:
                width = min(x + w, other[0] + other[2]) - max(x, other[0])
                height = min(y + h, other[1] + other[3]) - max(y, other[1])
                shared = max(width, 0) * max(height, 0)
                assert shared <= LARGEST_OVERLAP * min(w * h, other[2] * other[3])
    assert min(counts) == 1
    assert max(counts) > 3
