import datasets
import pytest
from PIL import Image

from shufflenet.data import BrokenPictureError, open_dataset
from shufflenet.errors import UserError


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def _table(labels, **columns):
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "kind": datasets.ClassLabel(names=["coarse"]),
            "label": datasets.ClassLabel(names=["cat", "dog", "owl"]),
        }
    )
    pictures = [Image.new("RGB", (8, 6), (10 * number, 0, 0)) for number in range(len(labels))]
    return datasets.Dataset.from_dict(
        {"img": pictures, "kind": [0] * len(labels), "label": labels, **columns}, features=features
    )


def _write(root, **splits):
    for name, table in splits.items():
        (root / "data").mkdir(parents=True, exist_ok=True)
        table.to_parquet(root / "data" / f"{name}-00000-of-00001.parquet")
    return f"hf:{root}"


def test_a_dataset_by_name(tmp_path):
    name = _write(tmp_path / "animals", train=_table([0, 2, 1]), validation=_table([1]), test=_table([2, 2]))
    train, test = open_dataset(name, "train"), open_dataset(name, "test")
    assert train.classes == ("cat", "dog", "owl")  # the finer of the two label columns
    assert train.labels.tolist() == [0, 2, 1]
    picture, label = train[1]
    assert (picture.size, picture.getpixel((0, 0)), label) == ((8, 6), (10, 0, 0), 2)
    assert test.labels.tolist() == [2, 2]
    assert train.name(1).endswith("animals[1]")
    assert open_dataset(name, "test", classes=("owl", "cat", "dog")).labels.tolist() == [0, 0]


def test_hidden_labels_make_validation_the_test(tmp_path):
    name = _write(tmp_path / "hidden", train=_table([0]), validation=_table([1, 2, 0]), test=_table([-1, -1]))
    assert open_dataset(name, "test").labels.tolist() == [1, 2, 0]


def test_no_test_split(tmp_path):
    with pytest.raises(UserError, match="has the splits train; none of them is a test split"):
        open_dataset(_write(tmp_path / "only", train=_table([0])), "test")


def test_a_part_held_out_where_there_is_train_alone(tmp_path):
    name = _write(tmp_path / "alone", train=_table([0, 1, 2] * 5))
    train, test = (open_dataset(name, split, held_out=0.2) for split in ("train", "test"))
    assert (len(train), len(test)) == (12, 3)
    colors = [{dataset[index][0].getpixel((0, 0)) for index in range(len(dataset))} for dataset in (train, test)]
    assert len(colors[0] | colors[1]) == 15
    both = _write(tmp_path / "both", train=_table([0] * 5), test=_table([0] * 2))
    assert len(open_dataset(both, "train", held_out=0.2)) == 5


def test_a_broken_picture_is_named(tmp_path):
    table = datasets.Dataset.from_dict(
        {"img": [{"bytes": b"text", "path": None}, None], "label": [0, 1]},
        features=datasets.Features(
            {"img": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
        ),
    )
    dataset = open_dataset(_write(tmp_path / "broken", train=table.cast_column("img", datasets.Image())), "train")
    with pytest.raises(BrokenPictureError, match=r"broken\[0\] is not a picture"):
        dataset[0]
    with pytest.raises(BrokenPictureError, match=r"broken\[1\] has no picture"):
        dataset[1]


def test_columns_that_do_not_fit(tmp_path):
    table = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    with pytest.raises(UserError, match="it takes one of pictures and one of class labels"):
        open_dataset(_write(tmp_path / "texts", train=table), "train")


def test_an_unknown_name(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="data set nobody/nothing-at-all cannot be opened"):
        open_dataset("hf:nobody/nothing-at-all", "train")
