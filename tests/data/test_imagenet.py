import csv

import numpy as np
import pytest
from scipy.io import savemat

from shufflenet.data import open_dataset
from shufflenet.errors import UserError

SYNSETS = ["n01440764", "n01443537", "n02123045"]
NAMED = ("n01440764 tench", "n01443537 goldfish", "n02123045 tabby")
VALIDATION = [2, 0, 0, 1]  # the classes of the four validation pictures


@pytest.fixture
def imagenet(tmp_path, write_pictures):
    """Three classes, laid out as ImageNet is after unpacking; labels of the flat val folder are left to each test."""
    write_pictures(
        tmp_path, {f"train/{synset}/{synset}_{number}.JPEG": "red" for synset in SYNSETS for number in range(2)}
    )
    write_pictures(tmp_path, {f"val/ILSVRC2012_val_{number:08d}.JPEG": "blue" for number in range(1, 5)})
    return tmp_path


def _check(root):
    train, validation = open_dataset(root, "train"), open_dataset(root, "test")
    assert train.classes == validation.classes == NAMED
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert validation.labels.tolist() == VALIDATION
    assert validation.name(0).endswith("ILSVRC2012_val_00000001.JPEG")
    assert validation[3][0].size == (40, 30)


def _write_devkit(root):
    """meta.mat numbers the synsets in an order of its own, inner nodes of WordNet last, as the real one does."""
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    numbered = [SYNSETS[2], SYNSETS[0], SYNSETS[1], "n00001740"]
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    table = np.array(
        [(number + 1, synset, f"words {number}", 0) for number, synset in enumerate(numbered)], dtype=fields
    )
    savemat(data / "meta.mat", {"synsets": table[:, None]}, do_compression=True)
    labels = "".join(f"{numbered.index(SYNSETS[label]) + 1}\n" for label in VALIDATION)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(labels)


def test_devkit(imagenet):
    _write_devkit(imagenet)
    _check(imagenet)


def test_devkit_that_is_not_complete(imagenet):
    _write_devkit(imagenet)
    (imagenet / "val" / "ILSVRC2012_val_00000003.JPEG").unlink()
    with pytest.raises(UserError, match="has 4 labels for 3 pictures"):
        open_dataset(imagenet, "test")


def test_synset_file_with_a_synset_a_line(imagenet):
    lines = "".join(f"{SYNSETS[label]}\n" for label in VALIDATION)
    (imagenet / "imagenet_2012_validation_synset_labels.txt").write_text(lines)
    _check(imagenet)


def test_synset_file_with_names_in_any_order(imagenet):
    lines = [f"val/ILSVRC2012_val_{number:08d}.JPEG {SYNSETS[label]}\n" for number, label in enumerate(VALIDATION, 1)]
    (imagenet / "val_synsets.txt").write_text("".join(reversed(lines)))
    _check(imagenet)


def test_kaggles_layout(imagenet):
    inner = imagenet / "ILSVRC" / "Data" / "CLS-LOC"
    inner.mkdir(parents=True)
    for split in ("train", "val"):
        (imagenet / split).rename(inner / split)
    with (imagenet / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for number, label in reversed(list(enumerate(VALIDATION, 1))):
            rows.writerow([f"ILSVRC2012_val_{number:08d}", f"{SYNSETS[label]} 1 2 3 4 "])
    _check(imagenet)


def test_a_picture_without_a_label_is_named(imagenet):
    (imagenet / "val_synsets.txt").write_text(f"ILSVRC2012_val_00000001.JPEG {SYNSETS[0]}\n")
    with pytest.raises(UserError, match=r"no label for 3 of 4 pictures, such as ILSVRC2012_val_00000002\.JPEG"):
        open_dataset(imagenet, "test")


def test_no_labels_at_all(imagenet):
    with pytest.raises(
        UserError, match=r"holds pictures without class folders; put .* a folder with the class's name .*labels in"
    ):
        open_dataset(imagenet, "test")


def test_val_alone_with_class_folders_for_a_network(tmp_path, write_pictures):
    """Validation pictures sorted into folders, for a network whose classes come in another order."""
    write_pictures(tmp_path, {f"val/{synset}/a.JPEG": "red" for synset in SYNSETS})
    classes = ("n02123045 tabby", "n01443537", "n01440764")
    dataset = open_dataset(tmp_path, "test", classes=classes)
    assert dataset.classes == classes
    assert [classes[label][:9] for label in dataset.labels] == SYNSETS


def test_imagenet_v2(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{number}/a.png": "red" for number in range(1000)})
    from shufflenet.checkpoints.imagenet import imagenet_synsets

    classes = imagenet_synsets()[::-1]
    dataset = open_dataset(tmp_path, "test", classes=classes)
    for index in (0, 2, 999):
        number = int(dataset.name(index).split("/")[-2])
        assert classes[dataset.labels[index]] == imagenet_synsets()[number]
