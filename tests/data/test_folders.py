"""Folders as people have them: splits in every spelling, wrappings, what programs leave behind, names from elsewhere."""

import os
import unicodedata

import pytest

from shufflenet.data import describe, open_dataset
from shufflenet.data.folders import is_hidden, list_pictures, split_of
from shufflenet.data.predict import picture_files
from shufflenet.data.write_shards import write_shards
from shufflenet.errors import UserError

CLASSES = ("cat", "dog")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("Train", "Test"),
        ("train", "valid"),
        ("TRAIN", "dev"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("train_images", "val_images"),
        ("training", "eval"),
    ],
)
def test_splits_in_the_usual_spellings(train, test, tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{train}/{name}/{i}.png": "red" for name in CLASSES for i in range(3)})
    write_pictures(tmp_path, {f"{test}/{name}/0.png": "red" for name in CLASSES})
    assert (len(open_dataset(tmp_path, "train")), len(open_dataset(tmp_path, "test"))) == (6, 2)
    assert open_dataset(tmp_path, "train").classes == CLASSES


@pytest.mark.parametrize("name", ["trainer", "tested wood", "valley", "development", "set", "images", "train test"])
def test_other_names_are_no_splits(name):
    assert split_of(name) is None


def test_a_wrapping_folder_is_pointed_at(tmp_path, write_pictures):
    write_pictures(tmp_path, {"PetImages/cat/a.png": "red", "PetImages/dog/b.png": "blue"})
    (tmp_path / "readme.txt").write_text("pets")
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"give .*PetImages, whose folders cat, dog look like the classes"):
            open_dataset(tmp_path, split)
    assert open_dataset(tmp_path / "PetImages", "train").classes == CLASSES


def test_a_wrapping_folder_within_a_split(tmp_path, write_pictures):
    write_pictures(tmp_path, {"train/train/cat/a.png": "red", "train/train/dog/b.png": "blue"})
    with pytest.raises(UserError, match=r"single class folder, train; give .*train.train, whose folders cat, dog"):
        open_dataset(tmp_path, "train")


def test_a_single_class_is_refused_but_may_be_tested(tmp_path, write_pictures):
    write_pictures(tmp_path / "one", {"cat/a.png": "red"})
    with pytest.raises(UserError, match="a single class, cat; give at least two"):
        open_dataset(tmp_path / "one", "train")
    write_pictures(tmp_path, {"train/cat/a.png": "red", "train/dog/a.png": "red", "test/cat/b.png": "red"})
    assert len(open_dataset(tmp_path, "test", classes=CLASSES)) == 1


def test_splits_without_class_folders_are_not_two_classes(tmp_path, write_pictures):
    write_pictures(tmp_path, {"Train/a.png": "red", "Test/b.png": "blue"})
    with pytest.raises(UserError, match=r"Test, Train, are called as splits are.*a folder for each class"):
        open_dataset(tmp_path, "train")


def test_splits_within_the_classes(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{name}/{split}/a.png": "red" for name in CLASSES for split in ("train", "test")})
    with pytest.raises(UserError, match=r"each class .* has its own splits.*test.cat"):
        open_dataset(tmp_path, "train")


def test_a_class_called_dev_beside_other_classes(tmp_path, write_pictures):
    write_pictures(tmp_path, {"dev/a.png": "red", "qa/a.png": "blue"})
    assert open_dataset(tmp_path, "train").classes == ("dev", "qa")


LEFTOVERS = (
    "cat/.ipynb_checkpoints/a.png",
    "cat/.thumbnails/a.png",
    "cat/@eaDir/a.png",
    "cat/.Trash-1000/files/a.png",
    "__MACOSX/cat/a.png",
    "cat/._a.png",
    ".hidden/a.png",
)


def test_what_programs_leave_behind_is_left_out_everywhere(tmp_path, write_pictures):
    root = tmp_path / "set"
    write_pictures(root, {"cat/a.png": "red", "dog/b.png": "blue", **dict.fromkeys(LEFTOVERS, "lime")})
    dataset = open_dataset(root, "train")
    assert dataset.classes == CLASSES
    assert dataset.file_keys() == ["cat/a.png", "dog/b.png"]
    assert list_pictures(root).pictures == ("cat/a.png", "dog/b.png")
    files, passed_over = picture_files([root])
    assert [file.relative_to(root).as_posix() for file in files] == ["cat/a.png", "dog/b.png"]
    assert not passed_over
    write_shards(dataset, tmp_path / "shards", "train")
    assert len(open_dataset(tmp_path / "shards", "train")) == 2


@pytest.mark.parametrize("name", ["._a.jpg", ".git", "@eaDir", "__MACOSX", "$RECYCLE.BIN"])
def test_hidden_names(name):
    assert is_hidden(name)


def test_what_is_passed_over_is_counted(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red", "dog/b.jpg": "blue"})
    (tmp_path / "dog" / "b.jpg").rename(tmp_path / "dog" / "b.JFIF")
    for name in ("cat/notes.txt", "cat/more.txt", "dog/film.mp4", "readme"):
        (tmp_path / name).write_text("")
    dataset = open_dataset(tmp_path, "train")
    assert len(dataset) == 2
    assert dict(dataset.passed_over) == {".txt": 2, ".mp4": 1, "without a suffix": 1}
    line = describe(dataset)
    assert line.startswith(f"2 pictures of 2 classes (cat, dog) in {tmp_path}; 4 files were passed over: 2 .txt, ")
    assert picture_files([tmp_path])[1] == dataset.passed_over


def test_a_link_that_leads_back_ends(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red"})
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    assert list_pictures(tmp_path).pictures == ("cat/a.png",)


def test_a_class_that_is_not_utf8_is_refused_at_once(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red"})
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"1 of [0-9]+ class folders .* not UTF-8, such as b'caf\\xe9'; rename"):
        open_dataset(tmp_path, "train")


def test_a_file_whose_name_is_not_utf8_can_be_read_and_named(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red", "dog/b.png": "red"})
    os.rename(tmp_path / "cat" / "a.png", os.fsencode(tmp_path) + b"/cat/\xe9t\xe9.png")
    dataset = open_dataset(tmp_path, "train")
    assert dataset[0][0].size == (40, 30)
    assert dataset.name(0).endswith("cat/\ufffdt\ufffd.png")
    dataset.name(0).encode("utf-8")


@pytest.mark.parametrize("train_form", ["NFC", "NFD"])
def test_names_equal_but_for_their_normalisation_are_one_class(train_form, tmp_path, write_pictures):
    forms = {form: unicodedata.normalize(form, "été") for form in ("NFC", "NFD")}
    other = "NFD" if train_form == "NFC" else "NFC"
    write_pictures(tmp_path, {f"train/{forms[train_form]}/a.png": "red", "train/hiver/a.png": "red"})
    write_pictures(tmp_path, {f"test/{forms[other]}/a.png": "red", "test/hiver/a.png": "red"})
    train = open_dataset(tmp_path, "train")
    assert train.classes == ("hiver", forms["NFC"])
    assert open_dataset(tmp_path, "test", classes=("hiver", forms["NFD"])).labels.tolist() == [0, 1]
    # Both spellings in one folder: one class with the pictures of both.
    write_pictures(tmp_path, {f"train/{forms[other]}/b.png": "blue"})
    assert open_dataset(tmp_path, "train").labels.tolist() == [0, 1, 1]


def test_pointers_of_git_lfs_are_said_at_the_start(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red"})
    (tmp_path / "dog").mkdir()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for number in range(7):
        (tmp_path / "dog" / f"{number}.png").write_text(pointer)
    with pytest.raises(UserError, match=r"7 of 8 picture files are pointers of Git LFS.*and 2 more; `git lfs pull`"):
        open_dataset(tmp_path, "train")


def test_links_to_nothing_are_said_at_the_start_with_all_else(tmp_path, write_pictures):
    write_pictures(tmp_path, {"cat/a.png": "red", "dog/a.png": "red"})
    (tmp_path / "dog" / "b.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "dog" / "c.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    told = r"1 of 4 picture files are links to nothing: .*b\.png; mend .*1 of 4 picture files are pointers of Git LFS: .*c\.png"
    with pytest.raises(UserError, match=told):
        open_dataset(tmp_path, "train")
