import pytest
from PIL import Image
from typer.testing import CliRunner

from shufflenet.cli import app
from shufflenet.data import open_dataset


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (20, 16), f"rgb({number},9,9)").save(
                    tmp_path / "pictures" / split / name / f"{number}.png"
                )
    return tmp_path


def test_write_both_splits_and_read_them_back(folder):
    shards = folder / "shards"
    for split in ("train", "test"):
        arguments = ["shards", "write", str(folder / "pictures"), str(shards), "--split", split, "--shard-mib", "0.001"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "8 pictures of 2 classes" in result.output
        assert open_dataset(shards, split).labels.tolist().count(1) == 4


def test_index_shards_of_others(folder):
    shards = folder / "shards"
    CliRunner().invoke(app, ["shards", "write", str(folder / "pictures"), str(shards)])
    (shards / "train-index.npz").unlink()
    result = CliRunner().invoke(app, ["shards", "index", str(shards / "train-{000000..000000}.tar")])
    assert result.exit_code == 0, result.output
    assert (shards / "train-index.npz").exists()
    assert open_dataset(shards / "train-*.tar", "train").classes == ("cat", "dog")
