import random

import pytest
from torchvision.models import ResNet18_Weights

from shufflenet.checkpoints.imagenet import imagenet_synsets
from shufflenet.data.classes import class_map, with_names
from shufflenet.errors import UserError

ENGLISH = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
FOLDERS = imagenet_synsets()


def test_synsets_are_sorted_and_go_with_their_names():
    assert len(set(FOLDERS)) == 1000
    assert list(FOLDERS) == sorted(FOLDERS)
    named = dict(name.split(" ", 1) for name in with_names(FOLDERS))
    # From ILSVRC's own list of words.
    expected = {
        "n01440764": "tench",
        "n02084071": None,
        "n02123045": "tabby",
        "n03126707": "crane",
        "n02012849": "crane bird",
    }
    assert {synset: named.get(synset) for synset in expected} == expected
    assert with_names(("cat", "n01440764")) == ("cat", "n01440764 tench")


def test_equal_classes_and_another_order():
    assert class_map(("a", "b"), ("a", "b")) == [0, 1]
    assert class_map(("a", "b"), ("b", "c", "a")) == [2, 0]


def test_synsets_in_any_order_with_or_without_names():
    shuffled = list(with_names(FOLDERS))
    random.Random(0).shuffle(shuffled)
    mapped = class_map(FOLDERS, shuffled)
    assert all(shuffled[number].startswith(synset) for synset, number in zip(FOLDERS, mapped, strict=True))


def test_a_part_of_imagenet():
    part = ("n02123045", "n01440764 tench")
    assert class_map(part, with_names(FOLDERS)) == [FOLDERS.index("n02123045"), 0]


def test_a_converted_network_with_english_names():
    assert class_map(FOLDERS, ENGLISH) == list(range(1000))
    assert class_map(("n01443537",), ENGLISH) == [1]


def test_numbered_folders_stand_for_imagenets_classes_in_order():
    numbers = [str(number) for number in range(1000)]
    shuffled = list(with_names(FOLDERS))
    random.Random(1).shuffle(shuffled)
    mapped = class_map(numbers, shuffled)
    assert [shuffled[number][:9] for number in mapped] == list(FOLDERS)
    assert class_map(numbers, ENGLISH) == list(range(1000))


def test_numbers_are_names_for_any_other_network():
    digits = [str(number) for number in range(10)]
    assert class_map(digits, digits[::-1]) == list(range(9, -1, -1))
    with pytest.raises(UserError, match="does not know 10 of the data set's 10 classes: '0', '1'"):
        class_map(digits, with_names(FOLDERS))


def test_unknown_classes_are_named():
    with pytest.raises(UserError, match="1 of the data set's 2 classes: 'owl'"):
        class_map(("cat", "owl"), ("cat", "dog"))


def test_ambiguous_networks_are_refused():
    with pytest.raises(UserError, match="several classes of one name"):
        class_map(("a",), ("a", "b", "b"))
