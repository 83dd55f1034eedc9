"""Annotated pictures as tensors."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from shufflenet.detection import Category
from shufflenet.detection.dataset import DetectionDataset, collate
from shufflenet.errors import UserError

CATEGORIES = (Category(1, "cup"), Category(2, "bowl"))


def test_an_item(read, box):
    annotations = read([box(id=1), box(id=2, category_id=3, bbox=[99, 79, 1, 1]), box(id=3, iscrowd=1)])
    pixels, target = DetectionDataset(annotations, CATEGORIES)[0]
    expected = np.asarray(Image.open(annotations.pictures[0].path)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(pixels.numpy(), expected, rtol=1e-6)
    assert target["boxes"].tolist() == [[10, 20, 40, 60], [99, 79, 100, 80]]  # the second is one pixel, in the corner
    assert target["labels"].tolist() == [1, 2]  # by the categories' names, not by their ids
    assert type(pixels) is type(target["boxes"]) is torch.Tensor


def test_a_picture_without_objects(read):
    _, target = DetectionDataset(read([]), CATEGORIES)[0]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)


def test_flipping_moves_the_boxes_with_the_picture(read, box):
    annotations = read([box()])
    plain, _ = DetectionDataset(annotations, CATEGORIES)[0]
    pixels, target = DetectionDataset(annotations, CATEGORIES, transform=v2.RandomHorizontalFlip(1.0))[0]
    torch.testing.assert_close(pixels, plain.flip(2))
    assert target["boxes"].tolist() == [[60, 20, 90, 60]]


def test_flips_are_drawn_from_seed_epoch_and_index(read, box):
    images = [{"id": i, "file_name": f"{i}.png", "width": 12, "height": 10} for i in range(1, 25)]
    annotations = read([box(id=i, image_id=i, bbox=[0, 0, 3, 3]) for i in range(1, 25)], images=images)

    def flips(seed, epoch):
        dataset = DetectionDataset(annotations, CATEGORIES, transform=v2.RandomHorizontalFlip(0.5), seed=seed)
        dataset.set_epoch(epoch)
        torch.rand(1)  # other draws change nothing
        return [int(target["boxes"][0, 0]) for _, target in (dataset[i] for i in range(24))]

    first = flips(0, 0)
    assert set(first) == {0, 9}
    assert flips(0, 0) == first
    assert flips(0, 1) != first
    assert flips(1, 0) != first


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("CMYK", "jpg"), ("RGBA", "png"), ("P", "png"), ("1", "png")]
)
def test_grey_cmyk_and_other_pictures_are_rgb(read, box, tmp_path, mode, suffix):
    picture = Image.new("RGB", (100, 80), (255, 255, 255)).convert(mode)
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images" / f"a.{suffix}")
    images = [{"id": 1, "file_name": f"a.{suffix}", "width": 100, "height": 80}]
    pixels, _ = DetectionDataset(read([box()], images=images), CATEGORIES)[0]
    assert pixels.shape == (3, 80, 100)
    assert pixels.min() > 0.98


def test_a_picture_of_another_size_than_its_annotations_say(read, box, tmp_path):
    annotations = read([box()])
    Image.new("RGB", (80, 100)).save(annotations.pictures[0].path)
    with pytest.raises(UserError, match=r"a.png is 80×100 and its annotations say 100×80"):
        DetectionDataset(annotations, CATEGORIES)[0]


def test_a_broken_picture_is_named(read, box):
    annotations = read([box()])
    with open(annotations.pictures[0].path, "wb") as file:
        file.write(b"\x89PNG")
    with pytest.raises(UserError, match=r"a.png"):
        DetectionDataset(annotations, CATEGORIES)[0]


def test_a_category_that_the_detector_does_not_know(read):
    with pytest.raises(UserError, match=r"has category 'bowl', which the detector does not know; it knows cup"):
        DetectionDataset(read([]), CATEGORIES[:1])


def test_a_batch_keeps_pictures_of_any_sizes(read, box):
    images = [
        {"id": 1, "file_name": "a.png", "width": 20, "height": 10},
        {"id": 2, "file_name": "b.png", "width": 7, "height": 90},
    ]
    dataset = DetectionDataset(read([], images=images), CATEGORIES)
    pictures, targets = collate([dataset[0], dataset[1]])
    assert [tuple(picture.shape) for picture in pictures] == [(3, 10, 20), (3, 90, 7)]
    assert len(targets) == 2
