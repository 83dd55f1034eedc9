"""Reading annotations: what is broken is named, what COCO itself contains is taken."""

import json
from pathlib import Path

import numpy as np
import pytest

from shufflenet.detection import open_split
from shufflenet.detection.coco import AnnotationFile, dataset_name, read_annotations
from shufflenet.detection.config import Category
from shufflenet.detection.dataset import learnable
from shufflenet.errors import UserError


def test_objects_of_a_picture(read, box):
    annotations = read([box(id=5), box(id=6, category_id=3, bbox=[90, 70, 30, 40], iscrowd=1)])
    (picture,) = annotations.pictures
    assert annotations.categories == (Category(3, "bowl"), Category(7, "cup"))  # by id, as the file's order is anyone's
    assert picture.annotation_ids == (5, 6)
    assert picture.category_ids.tolist() == [7, 3]
    assert picture.boxes.tolist() == [[10, 20, 30, 40], [90, 70, 30, 40]]
    assert picture.corners().tolist() == [[10, 20, 40, 60], [90, 70, 100, 80]]  # clipped to the picture
    assert picture.usable().tolist() == [True, False]


def test_area_and_iscrowd_may_be_left_out(read, box):
    record = box()
    del record["area"], record["iscrowd"]
    (picture,) = read([record]).pictures
    assert picture.areas.tolist() == [1200]
    assert picture.crowd.tolist() == [False]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"image_id": 9}, "annotation 1 of .* belongs to image 9"),
        ({"image_id": "1"}, "annotation 1 of .* has image_id '1'"),
        ({"category_id": 2}, "annotation 1 of .* has category 2"),
        ({"category_id": None}, "annotation 1 of .* has category_id None"),
        ({"bbox": [1, 2, 3]}, r"annotation 1 of .* has bbox \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, "4"]}, "has bbox"),
        ({"bbox": [1, 2, -3, 4]}, "no negative size"),
        ({"bbox": [1, 2, float("nan"), 4]}, "none infinite"),
        ({"bbox": None}, "has bbox None"),
        ({"area": "big"}, "has area 'big'"),
        ({"area": None}, "has area None; it is a number of pixels, and may be left out"),
        ({"iscrowd": "0"}, "annotation 1 of .* has iscrowd '0'; it is 0 or 1"),
    ],
)
def test_a_broken_annotation_is_named(read, box, fields, complaint):
    with pytest.raises(UserError, match=complaint):
        read([box(**fields)])


def test_an_annotation_without_an_id_is_named_by_its_place(read, box):
    broken = box(bbox=[])
    del broken["id"]
    with pytest.raises(UserError, match="annotation number 1 of"):
        read([box(), broken])


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        ({"id": 1, "file_name": "a.png", "width": 100}, "image 1 of .* has height None"),
        ({"id": 1, "file_name": "a.png", "width": 0, "height": 80}, "width 0"),
        ({"id": 1, "width": 100, "height": 80}, "image 1 of .* has file_name None"),
        ({"file_name": "a.png", "width": 100, "height": 80}, "image number 0 of .* has id None"),
    ],
)
def test_a_broken_image_is_named(write_coco, image, complaint):
    path = write_coco([])
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "images": [image]}))
    with pytest.raises(UserError, match=complaint):
        open_split(path, "train")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "has no 'images'"),
        ('{"images": [], "categories": []}', "has no 'annotations'"),
        ('{"images": {"id": 1}, "annotations": [], "categories": []}', "images of .* is {'id': 1}; it is a list"),
        ('{"images": ["a.png"], "annotations": [], "categories": []}', "image number 0 of .* is 'a.png'; it is an obj"),
        ('{"images": [], "annotations": [], "categories": [{"id": 4}]}', "category 4 of .* has name None; correct it"),
        ('{"images": [], "annotations": [], "categories": [{"name": "a"}]}', "category number 0 of .* has id None"),
    ],
)
def test_a_file_of_something_else(tmp_path, text, complaint):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=complaint):
        open_split(tmp_path / "a.json", "train")


def test_two_images_of_one_id_are_refused(write_coco):
    image = {"id": 1, "file_name": "a.png", "width": 10, "height": 10}
    with pytest.raises(UserError, match="lists image 1 twice"):
        open_split(write_coco([], images=[image, image]), "train")


def test_two_images_of_one_name(read, box):
    """In different folders, or one file listed twice under two ids: both are pictures of the set."""
    images = [
        {"id": 1, "file_name": "one/a.png", "width": 20, "height": 10},
        {"id": 2, "file_name": "two/a.png", "width": 30, "height": 10},
        {"id": 3, "file_name": "two/a.png", "width": 30, "height": 10},
    ]
    first, second, third = read([box(id=1, image_id=1), box(id=2, image_id=3)], images=images).pictures
    assert first.path != second.path == third.path
    assert [len(picture.boxes) for picture in (first, second, third)] == [1, 0, 1]


def test_boxes_without_an_area_are_noted_and_kept_for_evaluation(read, box):
    annotations = read(
        [box(id=1, bbox=[10, 10, 5, 0]), box(id=2, bbox=[200, 10, 5, 5]), box(id=3, bbox=[99, 79, 1, 1])]
    )
    (picture,) = annotations.pictures
    assert picture.usable().tolist() == [False, False, True]
    assert len(annotations.notes) == 2
    assert "annotation 1 of" in annotations.notes[0]
    assert "annotation 2 of" in annotations.notes[1]


def test_what_can_be_learned_from(read, box):
    images = [{"id": number, "file_name": f"{number}.png", "width": 100, "height": 80} for number in (1, 2, 3)]
    annotations = read([box(id=1, image_id=1), box(id=2, image_id=2, iscrowd=1)], images=images)
    # A picture of a crowd alone would be taught as background; one of nothing is background.
    assert [picture.id for picture in learnable(annotations).pictures] == [1, 3]
    with pytest.raises(UserError, match="no object to learn from"):
        learnable(read([box(iscrowd=1)]))


def test_the_folder_of_the_pictures(write_coco, box, tmp_path):
    path = write_coco([box()])
    moved = tmp_path / "elsewhere"
    (tmp_path / "images").rename(moved)
    with pytest.raises(UserError, match=r"a.png, the first picture of .*--pictures"):
        open_split(path, "train")
    assert open_split(path, "train", moved).pictures[0].path == str(moved / "a.png")


def test_pictures_that_are_missing_are_said_at_the_start(write_coco, box, tmp_path):
    images = [{"id": number, "file_name": f"{number}.png", "width": 100, "height": 80} for number in (1, 2, 3)]
    path = write_coco([box()], images=images)
    for number in (1, 3):
        (tmp_path / "images" / f"{number}.png").unlink()
    (tmp_path / "images" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(
        UserError, match=r"1 of 3 picture files are missing: .*1\.png; .*1 of 3 .* links to nothing: .*3\.png"
    ):
        open_split(path, "train")


def test_a_path_from_the_folder_that_one_is_in(write_coco, box, tmp_path, monkeypatch):
    write_coco([box()])
    monkeypatch.chdir(tmp_path)
    (picture,) = open_split("data.json", "train").pictures
    assert picture.path == "images/a.png"


@pytest.mark.parametrize("inside", ["annotations", "."])
def test_a_file_of_a_folder_in_coco_s_layout(write_coco, box, tmp_path, monkeypatch, inside):
    """Its pictures lie in the folder of the split, wherever one is; one --pictures serves both splits."""
    (tmp_path / "annotations").mkdir()
    write_coco([box()]).rename(tmp_path / "annotations" / "instances_val2017.json")
    (tmp_path / "images").rename(tmp_path / "val2017")
    monkeypatch.chdir(tmp_path / inside)
    path = next(tmp_path.rglob("*.json")).relative_to(tmp_path / inside)
    for pictures in (None, tmp_path):
        (picture,) = open_split(path, "test", pictures).pictures
        assert Path(picture.path).samefile(tmp_path / "val2017" / "a.png")


class TestFolders:
    """COCO's layouts, each made of four pictures."""

    @pytest.fixture
    def make(self, tmp_path, write_coco):
        def write(name, ids, folder=None):
            images = [{"id": i, "file_name": f"{i:012d}.png", "width": 9, "height": 9} for i in ids]
            path = write_coco([], images=images, name=f"{name}.json")
            target = tmp_path / "coco" / "annotations" / f"instances_{name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            pictures = tmp_path / "coco" / (folder or name)
            pictures.mkdir(exist_ok=True)
            for image in images:
                (tmp_path / "images" / image["file_name"]).rename(pictures / image["file_name"])
            return tmp_path / "coco"

        return write

    def ids(self, folder, split):
        return [picture.id for picture in open_split(folder, split).pictures]

    @pytest.mark.parametrize("names", [("train2017", "val2017"), ("train", "val")])
    def test_as_downloaded_or_like_it(self, make, names):
        make(names[0], (1, 2))
        folder = make(names[1], (3,))
        assert self.ids(folder, "train") == [1, 2]
        assert self.ids(folder, "test") == [3]
        assert dataset_name(folder, [Category(i, str(i)) for i in range(80)]) == "coco"
        cells = folder.rename(folder.with_name("cells"))  # laid out as COCO is
        assert dataset_name(cells, [Category(1, "cell")]) == "cells"

    @pytest.mark.parametrize("minival", ["minival2014", "val2017"])
    def test_2014_with_the_minival_split(self, make, minival):
        make("train2014", (1, 2))
        make("val2014", (3, 4, 5))
        folder = make(minival, (4,), folder="elsewhere")
        assert self.ids(folder, "train") == [1, 2, 3, 5]
        assert self.ids(folder, "test") == [4]

    def test_2014_without_the_minival_split(self, make):
        make("train2014", (1, 2))
        folder = make("val2014", (3, 4, 5))
        with pytest.raises(UserError, match="which images are minival"):
            open_split(folder, "train")

    def test_nothing_of_the_kind(self, tmp_path):
        with pytest.raises(UserError, match="holds no test split"):
            open_split(tmp_path, "test")
        with pytest.raises(UserError, match="there is no"):
            open_split(tmp_path / "nowhere", "test")

    def test_an_export_of_roboflow(self, tmp_path, write_coco, box):
        path = write_coco([box()])
        for split in ("train", "valid"):
            (tmp_path / "export" / split).mkdir(parents=True)
            (tmp_path / "export" / split / "_annotations.coco.json").write_text(path.read_text())
            (tmp_path / "export" / split / "a.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
        assert open_split(tmp_path / "export", "test").pictures[0].path == str(tmp_path / "export" / "valid" / "a.png")


def test_files_that_select(write_coco, tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 9} for i in range(1, 5)]
    whole = write_coco([], images=images)
    some = write_coco([], images=images[1:3], name="some.json")
    for source, expected in (
        (AnnotationFile(whole, only=some), [2, 3]),
        (AnnotationFile(whole, without=some), [1, 4]),
    ):
        assert [picture.id for picture in read_annotations(source).pictures] == expected


def test_boxes_are_float64(read, box):
    (picture,) = read([box(bbox=[0.1, 0.2, 0.3, 0.4])]).pictures
    assert picture.boxes.dtype == np.float64
    assert picture.boxes.tolist() == [[0.1, 0.2, 0.3, 0.4]]


@pytest.mark.parametrize("only", [True, False])
def test_a_file_that_selects_is_checked_too(write_coco, tmp_path, only):
    whole = write_coco([])
    (tmp_path / "some.json").write_text('{"images": [{"id": "1"}], "annotations": [], "categories": []}')
    selecting = {"only" if only else "without": tmp_path / "some.json"}
    with pytest.raises(UserError, match=r"some.json has id '1'"):
        read_annotations(AnnotationFile(whole, **selecting))
