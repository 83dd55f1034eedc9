"""Fashion-MNIST: 28×28 grey pictures of ten kinds of clothing. All 70,000, or the 7,000 that come with this package.

Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", arXiv 1708.07747.
Copyright 2017 Zalando SE, MIT licence (bundled/LICENSE).
"""

import gzip
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import FashionMNIST

from shufflenet.cache import made_folder
from shufflenet.checkpoints import Preprocessing
from shufflenet.data.datasets import ArrayDataset, Split
from shufflenet.errors import UserError

CLASSES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
SIDE = 28
# The mean and deviation of the 60,000 training pictures.
PREPROCESSING = Preprocessing((SIDE, SIDE), short_side=None, mean=(0.2860,), std=(0.3530,), channel_order="grey")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILE_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
# Pictures in a row of the bundled sheets: a multiple of the classes, so each column is one class.
BUNDLED_COLUMNS = 100


def open_bundled(split: Split) -> ArrayDataset:
    """6,000 training or 1,000 test pictures, as many of each class, from the full set's same split.

    experiments/bundle_fashion_mnist.py chose them.
    """
    sheet = files("shufflenet.data").joinpath("bundled", f"fashion_mnist_{split}.png")
    with sheet.open("rb") as file:
        pixels = np.asarray(Image.open(file).convert("L"))
    rows = pixels.shape[0] // SIDE
    pictures = pixels.reshape(rows, SIDE, BUNDLED_COLUMNS, SIDE).swapaxes(1, 2).reshape(-1, 1, SIDE, SIDE)
    labels = np.arange(len(pictures)) % len(CLASSES)
    return ArrayDataset(torch.from_numpy(pictures.copy()), labels, CLASSES, PREPROCESSING)


def open_full(split: Split, debian_folder: Path = DEBIAN_FOLDER) -> ArrayDataset:
    """60,000 training or 10,000 test pictures: from Debian's package dataset-fashion-mnist if it is there, else downloaded.

    A download is kept in the cache ($SHUFFLENET_CACHE). Raises UserError if there is no way to the files.
    """
    images, labels = _read_debian(debian_folder, split) if debian_folder.is_dir() else _download(split)
    return ArrayDataset(images[:, None], labels, CLASSES, PREPROCESSING)


def _read_debian(folder: Path, split: Split) -> tuple[Tensor, Tensor]:
    images = _read_idx(folder / f"{FILE_PREFIX[split]}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{FILE_PREFIX[split]}-labels-idx1-ubyte.gz")
    return images, labels.long()


def _read_idx(path: Path) -> Tensor:
    """A file of MNIST's own format: two zeros, the type (8: bytes), the number of axes, their lengths in big-endian, the bytes."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    axes = data[3]
    shape = np.frombuffer(data, ">i4", count=axes, offset=4)
    start = 4 + 4 * axes
    if data[:3] != b"\x00\x00\x08" or len(data) != start + shape.prod():
        raise UserError(f"{path} is not an idx file of bytes, or not complete")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).reshape(shape.tolist())


def _download(split: Split) -> tuple[Tensor, Tensor]:
    try:
        full = FashionMNIST(made_folder(), train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"Fashion-MNIST is not in {DEBIAN_FOLDER} and cannot be downloaded ({error}); "
            "install Debian's package dataset-fashion-mnist, or take fashion-mnist-7k, which needs neither"
        ) from error
    return full.data, full.targets
