"""What training does where nobody said: which recipe, size and stem follow from the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from shufflenet.checkpoints import Preprocessing
from shufflenet.data import PictureDataset, listed
from shufflenet.data.small import SMALL_SIDE, own_size, sampled_sizes
from shufflenet.nets.shufflenet import StemKind

PAPER_PICTURES = 100_000
FEW_PICTURES = 10
# The paper's centre crop: 224 of a short side of 256.
CROP_SHARE = 0.875


@dataclass(frozen=True)
class Choice:
    """How a set of pictures enters a network, and by which recipe it is learned. `remarks` say what was chosen, and why."""

    recipe: str
    preprocessing: Preprocessing
    stem: StemKind
    remarks: tuple[str, ...]


def with_size(preprocessing: Preprocessing, size: tuple[int, int]) -> Preprocessing:
    """The preprocessing for another input size: the paper's centre crop of a square photograph, else straight to the size."""
    cropped = size[0] == size[1] and size[0] > SMALL_SIDE
    return replace(preprocessing, size=size, short_side=round(size[0] / CROP_SHARE) if cropped else None)


def choose(
    dataset: PictureDataset,
    *,
    trained: Preprocessing | None = None,
    recipe: str | None = None,
    size: tuple[int, int] | None = None,
    stem: StemKind | None = None,
) -> Choice:
    """What to train with on a training set. `trained` is the preprocessing of the network to start from; the rest is what was asked for.

    Photographs are taken at 224×224, or as `trained` says. A set whose pictures are all small (at most 64 pixels on the long side)
    is taken at its own size, with the small stem. The paper's recipe is for 100,000 pictures and more.
    """
    sizes = sampled_sizes(dataset)
    own = own_size(sizes)
    preprocessing = trained or dataset.preprocessing
    remarks = []
    if size is not None:
        preprocessing = with_size(preprocessing, size)
    elif trained is None and own is not None and own != preprocessing.size:
        preprocessing = with_size(preprocessing, own)
        remarks.append(f"the pictures are small, so they are taken at their own size, {_size(own)} (--size changes it)")
    small = max(preprocessing.size) <= SMALL_SIDE
    if trained is None and stem is None and small:
        remarks.append(
            f"inputs of {_size(preprocessing.size)} get the small stem, at stride 1 (--stem imagenet: stride 4)"
        )
    enlarged = median(min(preprocessing.size) / min(sides) for sides in sizes) if sizes else 1
    if enlarged > 2:
        remarks.append(
            f"warning: pictures are enlarged {enlarged:.1f} times to {_size(preprocessing.size)}; a smaller --size is faster"
        )
    chosen = recipe or default_recipe(len(dataset), trained=trained is not None, small=small)
    if recipe is None:
        remarks.append(f"recipe {chosen}, by the number and size of the pictures (--recipe changes it)")
    return Choice(chosen, preprocessing, stem or ("small" if small else "imagenet"), tuple(remarks))


def default_recipe(pictures: int, *, trained: bool, small: bool) -> str:
    """The recipe's name for so many training pictures, with or without a trained network to start from."""
    if pictures >= PAPER_PICTURES:
        return "paper"
    if trained:
        return "finetune"
    return "scratch-small" if small else "scratch"


def rare_classes(labels: np.ndarray, classes: Sequence[str]) -> str | None:
    """A sentence on the classes with few pictures or none; None if there are none."""
    counts = np.bincount(labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    few = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if 0 < count < FEW_PICTURES]
    parts = ([f"no pictures of {listed(missing)}"] if missing else []) + ([f"few of {listed(few)}"] if few else [])
    return f"warning: {', '.join(parts)}" if parts else None


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
