"""Makes the pictures that the package brings from the full set: python experiments/bundle_fashion_mnist.py

Draws 600 training and 100 test pictures of each class, with a fixed seed, from the full set's training and test pictures, and writes
each part as one grey PNG, 100 pictures a row. Picture i is of class i mod 10, so each column holds one class and no labels are
needed. Running it again writes the same pixels; a test holds the sheets to that where the full set is at hand.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from shufflenet.data.fashion_mnist import BUNDLED_COLUMNS, CLASSES, SIDE, Split, open_full

SEED = 1707_01083
PICTURES_PER_CLASS: dict[Split, int] = {"train": 600, "test": 100}


def select(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Indices of `per_class` random pictures of each class, the classes taking turns: the i-th is of class i mod classes."""
    random = np.random.Generator(np.random.PCG64(seed))
    columns = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(len(CLASSES))]
    return np.stack(columns, axis=1).reshape(-1)


def sheet(split: Split) -> np.ndarray:
    """The chosen pictures side by side: uint8 [rows × 28, 100 × 28]."""
    full = open_full(split)
    chosen = full.images[select(full.labels, PICTURES_PER_CLASS[split], SEED)].numpy()
    return chosen.reshape(-1, BUNDLED_COLUMNS, SIDE, SIDE).swapaxes(1, 2).reshape(-1, BUNDLED_COLUMNS * SIDE)


def main() -> None:
    folder = Path(str(files("shufflenet.data").joinpath("bundled")))
    folder.mkdir(exist_ok=True)
    for split in PICTURES_PER_CLASS:
        Image.fromarray(sheet(split)).save(folder / f"fashion_mnist_{split}.png", optimize=True)


if __name__ == "__main__":
    main()
