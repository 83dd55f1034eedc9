import io
import pickle
import tarfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from shufflenet.data import BrokenPictureError, open_dataset
from shufflenet.data.datasets import FileDataset
from shufflenet.data.shards import ShardDataset, expand, open_shards
from shufflenet.data.write_shards import write_index, write_shards
from shufflenet.errors import UserError


@pytest.fixture
def folder(tmp_path, write_pictures) -> FileDataset:
    """Ten pictures in each of three classes, every one of another colour."""
    colors = {
        f"{name}/{number:02d}.png": f"rgb({number}, {8 * label}, 7)"
        for label, name in enumerate("abc")
        for number in range(10)
    }
    write_pictures(tmp_path / "pictures", colors)
    dataset = open_dataset(tmp_path / "pictures", "train")
    assert isinstance(dataset, FileDataset)
    return dataset


def _contents(dataset) -> set[tuple[bytes, str]]:
    return {
        (picture.tobytes(), dataset.classes[label])
        for picture, label in (dataset[index] for index in range(len(dataset)))
    }


def _tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), color).save(buffer, "PNG")
    return buffer.getvalue()


def test_round_trip(folder, tmp_path):
    paths = write_shards(folder, tmp_path / "shards", "train", shard_bytes=1000)
    assert len(paths) > 3
    assert (tmp_path / "shards" / "train-index.npz").exists()
    for name in (tmp_path / "shards", tmp_path / "shards" / f"train-{{000000..{len(paths) - 1:06d}}}.tar"):
        dataset = open_dataset(name, "train")
        assert isinstance(dataset, ShardDataset)
        assert dataset.classes == ("a", "b", "c")
        assert _contents(dataset) == _contents(folder)
    first = [dataset.classes[label] for label in dataset.labels[:10]]
    assert len(set(first)) == 3  # shuffled before they were packed


def test_the_webdataset_library_reads_what_we_write(folder, tmp_path):
    paths = write_shards(folder, tmp_path / "shards", "train", shard_bytes=1000)
    with ExitStack() as files:  # opened here: the library leaves its own to the garbage collector
        sources = [{"url": str(path), "stream": files.enter_context(path.open("rb"))} for path in paths]
        samples = list(group_by_keys(tar_file_expander(sources)))
    assert [sample["__key__"] for sample in samples] == [f"{number:08d}" for number in range(30)]
    read = {(Image.open(io.BytesIO(sample["png"])).tobytes(), folder.classes[int(sample["cls"])]) for sample in samples}
    assert read == _contents(folder)


@pytest.mark.parametrize("kept", [False, True])
def test_we_read_what_the_webdataset_library_writes(folder, tmp_path, kept):
    pattern = str(tmp_path / "other-%03d.tar")
    with webdataset.ShardWriter(pattern, maxcount=7, verbose=0) as writer:
        for index in range(len(folder)):
            picture, label = folder[index]
            writer.write({"__key__": f"sub.dir/{index:04d}", "png": picture, "cls": label, "json": {"index": index}})
    if kept:
        assert write_index(str(tmp_path / "other-*.tar")) == tmp_path / "other-index.npz"
    dataset = open_shards(tmp_path / "other-{000..004}.tar")
    assert dataset.classes == ("0", "1", "2")
    assert _contents(dataset.relabelled([0, 1, 2], folder.classes)) == _contents(folder)
    assert dataset.name(8) == f"{tmp_path}/other-001.tar:sub.dir/0008.png"


def test_writing_again_gives_the_same_bytes_and_never_overwrites(folder, tmp_path):
    parts = [write_shards(folder, tmp_path / name, "train", shard_bytes=1000, seed=5) for name in ("one", "two")]
    assert [path.read_bytes() for path in parts[0]] == [path.read_bytes() for path in parts[1]]
    with pytest.raises(UserError, match=r"train-000000\.tar exists"):
        write_shards(folder, tmp_path / "one", "train")
    with pytest.raises(UserError, match="names other classes"):
        write_shards(folder.relabelled([0, 1, 2], ("x", "y", "z")), tmp_path / "one", "test")


def test_pictures_in_memory_become_png(tmp_path):
    bundled = open_dataset("fashion-mnist-7k", "test")
    write_shards(bundled, tmp_path, "test")
    again = open_dataset(tmp_path, "test")
    assert again.classes == bundled.classes
    assert _contents(again) == _contents(bundled)


def test_class_names_from_a_file_and_from_the_shards(tmp_path):
    _tar(tmp_path / "a.tar", {"1.png": _png("red"), "1.cls": b"owl\n", "2.PNG": _png("blue"), "2.cls": b"cat"})
    assert open_shards(tmp_path / "a.tar").classes == ("cat", "owl")
    (tmp_path / "classes.txt").write_text("owl\nlynx\ncat\n")
    dataset = open_shards(tmp_path / "a.tar")
    assert dataset.classes == ("owl", "lynx", "cat")
    assert dataset.labels.tolist() == [0, 2]
    (tmp_path / "classes.txt").write_text("lynx\n")
    with pytest.raises(UserError, match="lacks the class 'cat'"):
        open_shards(tmp_path / "a.tar")


def test_numbered_classes_with_too_few_names(tmp_path):
    _tar(tmp_path / "a.tar", {"1.png": _png("red"), "1.cls": b"3"})
    (tmp_path / "classes.txt").write_text("lynx\nowl\n")
    with pytest.raises(UserError, match="names 2 classes; the shards have a class 3"):
        open_shards(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"1.png": b"x"}, r"1 has \.png; a sample is one picture and its \.cls"),
        ({"1.png": b"x", "1.jpg": b"x", "1.cls": b"0"}, "one picture"),
        ({}, "hold no pictures"),
    ],
)
def test_shards_of_another_kind(members, wrong, tmp_path):
    _tar(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=wrong):
        open_shards(tmp_path / "a.tar")


def test_missing_and_damaged_shards(folder, tmp_path):
    _tar(tmp_path / "a-0.tar", {"1.png": _png("red"), "1.cls": b"0"})
    with pytest.raises(UserError, match=r"shard .*a-1\.tar is missing"):
        open_shards(tmp_path / "a-{0..1}.tar")
    with pytest.raises(UserError, match="no shards match"):
        open_shards(tmp_path / "b-*.tar")
    (tmp_path / "b.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(UserError, match=r"b\.tar cannot be read"):
        open_shards(tmp_path / "b.tar")


def test_an_index_that_is_older_than_its_shards(folder, tmp_path):
    paths = write_shards(folder, tmp_path / "shards", "train", shard_bytes=1000)
    with paths[1].open("ab") as file:
        file.write(bytes(10240))
    with pytest.raises(UserError, match="write it anew with `shufflenet shards index`"):
        open_dataset(tmp_path / "shards", "train")


def test_a_shard_that_is_cut_while_in_use(folder, tmp_path):
    paths = write_shards(folder, tmp_path / "shards", "train")
    dataset = open_shards(paths[0])
    with paths[0].open("r+b") as file:
        file.truncate(5000)
    assert dataset[0][0].size == (40, 30)
    with pytest.raises(BrokenPictureError, match=r"train-000000\.tar ends within picture 29"):
        dataset[29]


def test_a_broken_picture_is_named_by_shard_and_member(tmp_path):
    _tar(tmp_path / "a.tar", {"x/1.png": b"text", "x/1.cls": b"0"})
    with pytest.raises(BrokenPictureError, match=r"a\.tar:x/1\.png is not a picture"):
        open_shards(tmp_path / "a.tar")[0]


def test_open_files_are_not_pickled(folder, tmp_path):
    dataset = open_shards(write_shards(folder, tmp_path / "shards", "train")[0])
    assert dataset[0][1] == pickle.loads(pickle.dumps(dataset))[0][1]


def test_an_order_takes_all_pictures_and_stays_within_few_shards(folder, tmp_path, monkeypatch):
    write_shards(folder, tmp_path / "shards", "train", shard_bytes=400)
    dataset = open_dataset(tmp_path / "shards", "train")
    assert isinstance(dataset, ShardDataset)
    assert len(dataset.paths) >= 10
    monkeypatch.setattr("shufflenet.data.shards.SHUFFLED_TOGETHER", 2)
    orders = [dataset.order(0, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert (dataset.order(0, 1) == orders[1]).all()
    # Each shard's pictures lie within a window of two shards' pictures.
    largest = 2 * np.bincount(dataset.index.shards).max()
    for shard in range(len(dataset.paths)):
        places = np.flatnonzero(dataset.index.shards[orders[0]] == shard)
        assert np.ptp(places) < largest


def test_patterns(tmp_path):
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b.tar"):
        (tmp_path / name).touch()
    assert [path.name for path in expand(f"{tmp_path}/a-{{08..10}}.tar")] == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert [path.name for path in expand(f"{tmp_path}/?-*.tar")] == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert expand(f"{tmp_path}/b.tar") == [tmp_path / "b.tar"]


def test_a_part_held_out_of_shards(folder, tmp_path):
    paths = write_shards(folder, tmp_path / "shards", "all", shard_bytes=1000)
    pattern = f"{tmp_path}/shards/all-{{000000..{len(paths) - 1:06d}}}.tar"
    train, test = (open_dataset(pattern, split, held_out=0.2) for split in ("train", "test"))
    assert isinstance(train, ShardDataset)
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert _contents(train) | _contents(test) == _contents(folder)
    assert not _contents(train) & _contents(test)
    assert sorted(train.order(0, 0)) == list(range(24))
