import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflenet.data import open_dataset
from shufflenet.data.fashion_mnist import CLASSES, DEBIAN_FOLDER, open_full
from shufflenet.errors import UserError


def test_the_bundled_set():
    train, test = open_dataset("fashion-mnist-7k", "train"), open_dataset("fashion-mnist-7k", "test")
    assert np.bincount(train.labels).tolist() == [600] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert train.classes == CLASSES
    assert train.images.shape == (6000, 1, 28, 28)
    picture, label = test[1]
    assert (picture.mode, picture.size, label) == ("L", (28, 28), 1)
    # Trousers are upright: their pictures are darker at the left and right edges than shoes' are.
    edges = torch.stack([train.images[train.labels == label][..., [0, -1]].float().mean() for label in range(10)])
    assert edges.argmin() == 1


def test_no_bundled_picture_is_in_both_parts():
    parts = [open_dataset("fashion-mnist-7k", split).images.flatten(1).numpy() for split in ("train", "test")]
    train, test = ({row.tobytes() for row in part} for part in parts)
    assert len(train) > 5990
    assert not train & test


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_full_set_and_the_making_of_the_bundled_one():
    full = open_dataset("fashion-mnist", "test")
    assert np.bincount(full.labels).tolist() == [1000] * 10
    bundled = open_dataset("fashion-mnist-7k", "test")
    where = {image.numpy().tobytes(): label for image, label in zip(full.images, full.labels, strict=True)}
    assert [where[image.numpy().tobytes()] for image in bundled.images] == bundled.labels.tolist()
    bundle = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "bundle_fashion_mnist.py"))
    for split in ("train", "test"):
        pixels = bundle["sheet"](split)
        images = open_dataset("fashion-mnist-7k", split).images.numpy().reshape(-1, 100, 28, 28)
        assert (pixels == images.swapaxes(1, 2).reshape(pixels.shape)).all()


def test_a_damaged_full_set_is_named(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz cannot be read"):
        open_full("test", tmp_path)


def test_the_full_set_without_a_way_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match="dataset-fashion-mnist, or take fashion-mnist-7k"):
        open_full("test", tmp_path / "nowhere")


@pytest.mark.parametrize(("train", "test"), [("train", "val"), ("train", "test"), ("training", "validation")])
def test_train_and_val_folders(train, test, tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{train}/cat/a.png": "red", f"{train}/dog/b.png": "blue", f"{test}/cat/c.png": "lime"})
    assert open_dataset(tmp_path, "train").labels.tolist() == [0, 1]
    held = open_dataset(str(tmp_path), "test", classes=("dog", "cat"))
    assert held.labels.tolist() == [1]


def test_val_comes_before_test(tmp_path, write_pictures):
    write_pictures(tmp_path, {"train/cat/a.png": "red", "test/cat/b.png": "red", "val/cat/c.png": "red"})
    assert open_dataset(tmp_path, "test").name(0).endswith("val/cat/c.png")


def test_a_missing_split_is_not_made_up(tmp_path, write_pictures):
    write_pictures(tmp_path, {"train/cat/a.png": "red"})
    with pytest.raises(UserError, match=r"no val or valid or .* --held-out"):
        open_dataset(tmp_path, "test")


def test_a_class_may_be_called_train(tmp_path, write_pictures):
    write_pictures(tmp_path, {"train/a.png": "red", "boat/a.png": "blue"})
    assert open_dataset(tmp_path, "test").classes == ("boat", "train")


def test_one_folder_of_classes_with_and_without_a_part_held_out(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{name}/{number}.png": "red" for name in ("cat", "dog") for number in range(10)})
    assert len(open_dataset(tmp_path, "train")) == len(open_dataset(tmp_path, "test")) == 20
    assert len(open_dataset(tmp_path, "train", held_out=0.1)) == 18
    assert len(open_dataset(tmp_path, "test", held_out=0.1)) == 2


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no data set fashion: .*fashion-mnist-7k"):
        open_dataset("fashion", "train")
    with pytest.raises(UserError, match="no class folders, no shards and no pictures"):
        open_dataset(tmp_path, "train")
    with pytest.raises(UserError, match="'train' or 'test'"):
        open_dataset("fashion-mnist-7k", "validation")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="held_out is 1"):
        open_dataset(tmp_path, "train", held_out=1)
