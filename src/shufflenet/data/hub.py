"""Data sets of the Hugging Face Hub, through its own library."""

from typing import Any, Self

import numpy as np
from PIL.Image import Image

from shufflenet.data.datasets import PictureDataset, split_off
from shufflenet.data.pictures import BrokenPictureError, open_picture
from shufflenet.errors import UserError

TEST_SPLITS = ("test", "validation", "val", "valid")


class HubDataset(PictureDataset):
    """Pictures of a `datasets.Dataset` with an Image column and a ClassLabel column, decoded by us, from the encoded bytes."""

    def __init__(self, table: Any, name: str) -> None:
        from datasets import ClassLabel
        from datasets import Image as ImageFeature

        self.hub_name = name
        pictures = [column for column, feature in table.features.items() if isinstance(feature, ImageFeature)]
        labels = [column for column, feature in table.features.items() if isinstance(feature, ClassLabel)]
        if len(pictures) != 1 or not labels:
            raise UserError(
                f"{name} has the columns {table.features}; it takes one of pictures and one of class labels"
            )
        self.picture_column = pictures[0]
        # Where there are several (CIFAR-100's coarse and fine), the finest is meant.
        label_column = max(labels, key=lambda column: table.features[column].num_classes)
        self.classes = tuple(table.features[label_column].names)
        self.labels = np.asarray(table.with_format("numpy")[label_column], dtype=np.int64)
        self.table = table.select_columns(self.picture_column).cast_column(
            self.picture_column, ImageFeature(decode=False)
        )

    def name(self, index: int) -> str:
        return f"{self.hub_name}[{index}]"

    def __getitem__(self, index: int) -> tuple[Image, int]:
        file = self.table[index][self.picture_column]
        if file is None:
            raise BrokenPictureError(f"{self.name(index)} has no picture")
        source = file["path"] if file["bytes"] is None else file["bytes"]
        return open_picture(source, self.name(index)), int(self.labels[index])

    def file_keys(self) -> list[str]:
        return [str(index) for index in range(len(self))]

    def subset(self, indices: np.ndarray) -> Self:
        other = super().subset(indices)
        other.table = self.table.select(indices)
        return other


def open_hub(name: str, split: str, held_out: float = 0.0) -> HubDataset:
    """The data set NAME of the Hub, or a local folder that `datasets.load_dataset` reads.

    The "test" split is the first with labels of test, validation, val and valid: a test set with hidden labels (-1) is of no use.
    Where there is none, `held_out` above 0 splits the training pictures.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "data sets of the Hugging Face Hub take an extra: pip install 'shufflenet[datasets]'"
        ) from error
    try:
        there = datasets.get_dataset_split_names(name)
    except Exception as error:  # the library raises whatever its HTTP client and its file readers do
        raise UserError(f"data set {name} cannot be opened: {error}") from error
    parts = (HubDataset(datasets.load_dataset(name, split=part), name) for part in TEST_SPLITS if part in there)
    test = next((part for part in parts if (part.labels >= 0).all()), None)
    if split == "test" and test is not None:
        return test
    if "train" not in there or (split == "test" and not held_out):
        raise UserError(
            f"data set {name} has the splits {', '.join(there)}; none of them is a {split} split with labels"
        )
    train = HubDataset(datasets.load_dataset(name, split="train"), name)
    return split_off(train, held_out, test=split == "test") if held_out and test is None else train
