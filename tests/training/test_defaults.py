"""Which recipe, size and stem follow from the pictures, and small files that are decoded once."""

import numpy as np
import pytest
import torch
from PIL import Image

from shufflenet.checkpoints import IMAGENET
from shufflenet.data import ArrayDataset, augment, open_dataset
from shufflenet.data.array_inputs import ArrayInputs
from shufflenet.data.small import decode_small
from shufflenet.training import read_recipe
from shufflenet.training.defaults import choose, default_recipe, rare_classes, with_size


@pytest.fixture
def folder_of(tmp_path):
    """Class folders a and b with `count` noisy pictures of a size (width, height) in each."""

    def make(size, count=6):
        random = np.random.default_rng(0)
        for name in "ab":
            (tmp_path / name).mkdir(exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        return open_dataset(tmp_path, "train")

    return make


def test_photographs_are_taken_at_224(folder_of):
    choice = choose(folder_of((300, 260)))
    assert (choice.recipe, choice.stem, choice.preprocessing) == ("scratch", "imagenet", IMAGENET)


def test_small_pictures_are_taken_at_their_own_size_and_it_says_so(folder_of):
    choice = choose(folder_of((40, 32)))
    assert (choice.recipe, choice.stem) == ("scratch-small", "small")
    assert (choice.preprocessing.size, choice.preprocessing.short_side) == ((32, 40), None)
    assert any("their own size, 32×40" in remark for remark in choice.remarks)
    assert any("the small stem" in remark for remark in choice.remarks)


def test_what_was_asked_for_stands(folder_of):
    dataset = folder_of((40, 32))
    choice = choose(dataset, size=(96, 160), stem="imagenet", recipe="paper")
    assert (choice.recipe, choice.stem) == ("paper", "imagenet")
    assert (choice.preprocessing.size, choice.preprocessing.short_side) == ((96, 160), None)
    assert any("enlarged 3.0 times" in remark for remark in choice.remarks)
    trained = with_size(IMAGENET, (128, 128))
    assert (trained.size, trained.short_side) == ((128, 128), 146)
    assert choose(dataset, trained=trained).preprocessing == trained
    assert choose(dataset, trained=trained).recipe == "finetune"


@pytest.mark.parametrize(
    ("pictures", "trained", "small", "name"),
    [(100_000, False, False, "paper"), (99_999, True, False, "finetune"), (50_000, False, True, "scratch-small")],
)
def test_the_recipe_follows_from_the_number_of_pictures(pictures, trained, small, name):
    assert default_recipe(pictures, trained=trained, small=small) == name


def test_classes_with_few_pictures_or_none_are_named():
    labels = np.repeat([0, 2], [20, 3])
    assert rare_classes(labels, ("cat", "dog", "eel")) == "warning: no pictures of dog, few of eel (3)"
    assert rare_classes(np.zeros(10, int), ("cat",)) is None


def test_small_files_are_decoded_once_and_read_as_arrays_are(folder_of):
    files = folder_of((40, 32))
    decoded = decode_small(files, (32, 40))
    assert isinstance(decoded, ArrayDataset)
    for index in range(len(files)):
        picture, label = files[index]
        assert decoded[index][1] == label
        assert np.array_equal(np.asarray(decoded[index][0]), np.asarray(picture.convert("RGB")))
        assert decoded.name(index) == files.name(index)
    part = decoded.subset(np.array([7, 2]))
    assert part.name(0) == files.name(7)
    assert torch.equal(part.images[1], decoded.images[2])
    inputs = augment(decoded, choose(files).preprocessing, read_recipe("scratch-small").augmentation)
    assert isinstance(inputs, ArrayInputs)


def test_other_sizes_and_broken_files_stay_files(folder_of, tmp_path):
    files = folder_of((40, 32))
    assert decode_small(files, (32, 32)) is files
    (tmp_path / "a" / "0.png").write_bytes(b"no picture")
    assert decode_small(files, (32, 40)) is files
