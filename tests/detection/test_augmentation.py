"""Mosaics: what is painted in four pictures lies where the boxes say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shufflenet.detection import Category
from shufflenet.detection.augmentation import LEAST_PART, bounding_boxes, mosaic
from shufflenet.detection.dataset import DetectionDataset

CATEGORIES = (Category(1, "cup"), Category(2, "bowl"))

# Of each picture's object: no two are alike in every channel.
COLOURS = torch.tensor([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 200]], dtype=torch.uint8)


def painted(number, height, width, corners):
    """A black picture with one object of its colour, labelled by its number from 1 up."""
    picture = torch.zeros(3, height, width, dtype=torch.uint8)
    x1, y1, x2, y2 = corners
    picture[:, y1:y2, x1:x2] = COLOURS[number][:, None, None]
    boxes = bounding_boxes(torch.tensor([corners], dtype=torch.float32), (height, width))
    return picture, {"boxes": boxes, "labels": torch.tensor([number + 1])}


@st.composite
def annotated(draw, number):
    height, width = draw(st.integers(16, 90)), draw(st.integers(16, 90))
    x1, y1 = draw(st.integers(0, width - 6)), draw(st.integers(0, height - 6))
    x2, y2 = draw(st.integers(x1 + 6, width)), draw(st.integers(y1 + 6, height))
    return painted(number, height, width, (x1, y1, x2, y2))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*(annotated(number) for number in range(4))), st.integers(0, 2**31))
def test_boxes_lie_around_what_is_painted(items, seed):
    torch.manual_seed(seed)
    picture, target = mosaic(items)
    height, width = items[0][0].shape[1:]
    assert picture.shape == (3, height, width)
    assert picture.dtype == torch.uint8
    assert target["boxes"].canvas_size == (height, width)
    assert len(target["boxes"]) == len(target["labels"])
    assert len(set(target["labels"].tolist())) == len(target["labels"])
    for corners, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
        x1, y1, x2, y2 = corners
        assert 0 <= x1 <= x2 - 1 <= width - 1
        assert 0 <= y1 <= y2 - 1 <= height - 1
        own = COLOURS[label - 1][:, None, None] > 0
        found = torch.where(own, picture > 100, picture < 50).all(0)
        if min(x2 - x1, y2 - y1) >= 3:
            rows, columns = torch.where(found.any(1))[0], torch.where(found.any(0))[0]
            seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert corners == pytest.approx([int(side) for side in seen], abs=1.6)


def test_what_is_left_of_an_object_must_be_enough_of_it():
    """A picture whose object fills it: each of four pieces keeps its share of the area, or none."""
    items = [painted(number, 64, 64, (0, 0, 64, 64)) for number in range(4)]
    shares, dropped = [], 0
    for seed in range(200):
        torch.manual_seed(seed)
        picture, target = mosaic(items)
        assert (picture.amax(0) == 200).all(), "every pixel is of some picture"
        boxes = target["boxes"]
        shares += ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).tolist()
        dropped += 4 - len(boxes)
    assert dropped > 100
    # A piece is at least as large as what is left; the picture was shrunk to between that and the whole.
    assert min(shares) < 64 * 64 * LEAST_PART


def test_pictures_of_background_may_be_among_them(read, box):
    images = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in (1, 2)]
    dataset = DetectionDataset(read([box()], images=images), CATEGORIES, transform=lambda *item: item, mosaic=1.0)
    for epoch in range(5):
        dataset.set_epoch(epoch)
        for index in range(2):
            picture, target = dataset[index]
            assert picture.shape == (3, 30, 40)
            assert torch.equal(picture, dataset[index][0]), "the same draw, the same picture"
            assert target["boxes"].shape == (len(target["labels"]), 4)
