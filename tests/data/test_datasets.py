import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shufflenet.checkpoints import Preprocessing
from shufflenet.data.datasets import ArrayDataset, split_off
from shufflenet.data.folders import open_class_folders
from shufflenet.data.pictures import BrokenPictureError
from shufflenet.errors import UserError


def test_class_folders_in_the_order_of_their_names(tmp_path, write_pictures):
    write_pictures(
        tmp_path, {"dog/b.PNG": "red", "cat/x/y/deep.jpg": "blue", "cat/a.webp": "lime", "dog/ä b.bmp": "black"}
    )
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "cat" / ".hidden.png").write_text("nor this")
    (tmp_path / ".cache").mkdir()
    dataset = open_class_folders(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    names = [str(Path(dataset.name(index)).relative_to(tmp_path)) for index in range(4)]
    assert names == ["cat/a.webp", "cat/x/y/deep.jpg", "dog/b.PNG", "dog/ä b.bmp"]
    picture, label = dataset[2]
    assert (picture.getpixel((0, 0)), label) == ((255, 0, 0), 1)
    assert len(dataset) == 4


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{number}/a.png": "red" for number in (0, 1, 2, 10, 11, 100)})
    assert open_class_folders(tmp_path).classes == ("0", "1", "2", "10", "11", "100")


def test_an_empty_class_and_no_class(tmp_path, write_pictures):
    with pytest.raises(UserError, match="has no class folders"):
        open_class_folders(tmp_path)
    write_pictures(tmp_path, {"cat/a.png": "red"})
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=r"class folder .*dog has no pictures"):
        open_class_folders(tmp_path)


def test_a_missing_file_is_a_broken_picture(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red", "dog/b.png": "red"})
    dataset = open_class_folders(tmp_path)
    (tmp_path / "cat" / "a.png").unlink()
    with pytest.raises(BrokenPictureError, match=r"cat/a\.png cannot be read"):
        dataset[0]


def test_split_off_is_a_stable_part_of_each_class(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{name}/{number}.png": "red" for name in ("cat", "dog") for number in range(20)})
    whole = open_class_folders(tmp_path)
    test, train = split_off(whole, 0.2, test=True), split_off(whole, 0.2, test=False)
    names = [{part.name(index) for index in range(len(part))} for part in (test, train)]
    assert names[0] | names[1] == {whole.name(index) for index in range(40)}
    assert not names[0] & names[1]
    assert np.bincount(test.labels).tolist() == [4, 4]
    write_pictures(tmp_path, {f"cat/new{number}.png": "red" for number in range(5)})
    again = split_off(open_class_folders(tmp_path), 0.2, test=True)
    kept = names[0] & {again.name(index) for index in range(len(again))}
    assert len(kept) >= 6  # a newcomer can at most push its own way in
    write_pictures(tmp_path, {"owl/only.png": "red"})
    with pytest.raises(UserError, match=r"'owl' .* single picture"):
        split_off(open_class_folders(tmp_path), 0.2, test=True)


def test_relabelling_leaves_the_original_alone(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red", "dog/a.png": "red"})
    dataset = open_class_folders(tmp_path)
    other = dataset.relabelled([2, 0], ("dog", "owl", "cat"))
    assert [other[index][1] for index in range(2)] == [2, 0]
    assert other.classes == ("dog", "owl", "cat")
    assert dataset.labels.tolist() == [0, 1]


def test_orders_are_permutations_by_seed_and_epoch(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{name}/{number}.png": "red" for name in ("cat", "dog") for number in range(15)})
    dataset = open_class_folders(tmp_path)
    orders = {tuple(dataset.order(seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert dataset.order(1, 2).tolist() == pickle.loads(pickle.dumps(dataset)).order(1, 2).tolist()


def test_pictures_in_memory():
    images = torch.arange(2 * 4 * 6, dtype=torch.uint8).reshape(2, 1, 4, 6)
    dataset = ArrayDataset(images, [1, 0], ("a", "b"), Preprocessing((4, 6), None, (0.5,), (0.5,), "grey"))
    picture, label = dataset[0]
    assert isinstance(picture, Image.Image)
    assert (np.asarray(picture) == images[0, 0].numpy()).all()
    assert label == 1
    assert dataset.name(1) == "picture 1 of class a"
    with pytest.raises(UserError, match="uint8"):
        ArrayDataset(images.float(), [1, 0], ("a", "b"), dataset.preprocessing)
