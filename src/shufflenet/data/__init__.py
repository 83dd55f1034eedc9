"""Pictures: data sets by name or place, how they are varied in training and prepared for evaluation, and reading any one picture."""

from shufflenet.data.classes import class_keys, class_map
from shufflenet.data.datasets import ArrayDataset, FileDataset, PictureDataset
from shufflenet.data.folders import listed
from shufflenet.data.inputs import BROKEN, Inputs, PictureInputs
from shufflenet.data.loading import batches, reading_processes
from shufflenet.data.open import augment, describe, open_dataset, prepare
from shufflenet.data.pictures import BrokenPictureError, read_picture
from shufflenet.data.transforms import (
    MEGVII,
    PAPER,
    PAPER_SMALL_NET,
    SMALL_PICTURES,
    Augmentation,
    evaluation_transform,
    training_transform,
)

__all__ = [
    "BROKEN",
    "MEGVII",
    "PAPER",
    "PAPER_SMALL_NET",
    "SMALL_PICTURES",
    "ArrayDataset",
    "Augmentation",
    "BrokenPictureError",
    "FileDataset",
    "Inputs",
    "PictureDataset",
    "PictureInputs",
    "augment",
    "batches",
    "class_keys",
    "class_map",
    "describe",
    "evaluation_transform",
    "listed",
    "open_dataset",
    "prepare",
    "read_picture",
    "reading_processes",
    "training_transform",
]
