import json

import pytest

from shufflenet.checkpoints.folder import read_config
from shufflenet.data.imagenet import open_flat_validation
from shufflenet.detection.coco import AnnotationFile, read_annotations
from shufflenet.errors import UserError
from shufflenet.text_files import read_names, read_text
from shufflenet.training import read_recipe


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_and_without_a_mark(encoding, tmp_path):
    (tmp_path / "classes.txt").write_text("été\nhiver\n\n", encoding=encoding)
    assert read_names(tmp_path / "classes.txt") == ["été", "hiver"]


def test_other_encodings_are_named_with_their_place(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("hiver\nété\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"is not UTF-8: line 2 has the byte 0xE9, as Latin-1 .*; save it as UTF-8"):
        read_text(path)
    path.write_bytes("hiver\n".encode("utf-16-le"))
    with pytest.raises(UserError, match="UTF-16 without a byte order mark"):
        read_text(path)


def test_an_empty_line_between_names_would_shift_them(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(UserError, match="empty line 2"):
        read_names(tmp_path / "classes.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_kaggles_labels_as_a_spreadsheet_saves_them(encoding, tmp_path, write_pictures):
    write_pictures(tmp_path, {"val/a.png": "red", "val/b.png": "blue"})
    rows = "ImageId,PredictionString\na,n01440764 1 2 3 4\n,\nb,n01443537 1 2 3 4\n\n"
    (tmp_path / "LOC_val_solution.csv").write_text(rows, encoding=encoding)
    dataset = open_flat_validation(tmp_path / "val", tmp_path)
    assert dataset.classes == ("n01440764", "n01443537")
    assert dataset.labels.tolist() == [0, 1]


def test_a_row_without_a_label_is_named(tmp_path, write_pictures):
    write_pictures(tmp_path, {"val/a.png": "red"})
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\na,\n")
    with pytest.raises(UserError, match=r"no label for 1 of 1 pictures, such as a\.png"):
        open_flat_validation(tmp_path / "val", tmp_path)


def test_a_table_with_other_columns(tmp_path, write_pictures):
    write_pictures(tmp_path, {"val/a.png": "red"})
    (tmp_path / "LOC_val_solution.csv").write_text("file,label\na,n01440764\n")
    with pytest.raises(UserError, match="does not begin with the columns"):
        open_flat_validation(tmp_path / "val", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_recipes_configs_and_annotations_may_have_a_mark_too(encoding, tmp_path, picture_file):
    (tmp_path / "mine.yaml").write_text("epochs: 3  # été\n", encoding=encoding)
    assert read_recipe(tmp_path / "mine.yaml").epochs == 3
    (tmp_path / "config.json").write_text('{"classes": ["été"]}', encoding=encoding)
    assert read_config(tmp_path) == {"classes": ["été"]}
    images = [{"id": 1, "file_name": picture_file.name, "width": 4, "height": 3}]
    record = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "été"}]}
    (tmp_path / "data.json").write_text(json.dumps(record, ensure_ascii=False), encoding=encoding)
    assert read_annotations(AnnotationFile(tmp_path / "data.json")).categories[0].name == "été"


def test_recipes_configs_and_annotations_of_another_encoding_are_named(tmp_path):
    for name, read in (
        ("mine.yaml", lambda: read_recipe(tmp_path / "mine.yaml")),
        ("config.json", lambda: read_config(tmp_path)),
        ("data.json", lambda: read_annotations(AnnotationFile(tmp_path / "data.json"))),
    ):
        (tmp_path / name).write_bytes('{"classes": "été"}'.encode("latin-1"))
        with pytest.raises(UserError, match=rf"^[^ ]*{name} is not UTF-8: line 1 has the byte 0xE9"):
            read()


@pytest.fixture
def picture_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not looked at")
    return tmp_path / "a.png"
