"""What a network says of picture files: read, preprocess, classify, name; a file that cannot be read does not stop the others."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from shufflenet.checkpoints import Metadata
from shufflenet.data.folders import describe_passed_over, list_pictures
from shufflenet.data.pictures import SUFFIXES, BrokenPictureError, open_picture, shown
from shufflenet.data.transforms import evaluation_transform
from shufflenet.errors import UserError


@dataclass(frozen=True)
class ClassProbability:
    """One class of a prediction; `name` is the index in words where the network's classes have no names."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What was found out about one file: its likeliest classes, best first, or why it could not be read."""

    file: str
    classes: tuple[ClassProbability, ...] = ()
    error: str | None = None


def picture_files(places: Sequence[str | Path]) -> tuple[list[Path], Counter[str]]:
    """The files among `places` and the pictures anywhere in its folders, and how many files there were passed over, by suffix.

    Raises UserError for a folder without any picture.
    """
    files: list[Path] = []
    passed_over: Counter[str] = Counter()
    for place in map(Path, places):
        if not place.is_dir():
            files.append(place)
            continue
        listing = list_pictures(place)
        if not listing.pictures:
            there = describe_passed_over(listing.passed_over)
            raise UserError(
                f"there are no pictures in {place}; their names end in {', '.join(sorted(SUFFIXES))}{f'; {there}' if there else ''}"
            )
        files += (place / path for path in listing.pictures)
        passed_over += listing.passed_over
    return files, passed_over


def predict(
    classify: Callable[[Tensor], Tensor],
    metadata: Metadata,
    files: Sequence[Path],
    *,
    top: int = 5,
    batch_size: int = 32,
) -> Iterator[Prediction]:
    """One Prediction a file, in order. `classify` takes [n, channels, height, width] → logits [n, classes].

    Pictures are read by several threads, a batch at a time, so a long list takes no more memory than a short one.
    """
    transform = evaluation_transform(metadata.preprocessing)

    def read(path: Path) -> Tensor | BrokenPictureError:
        try:
            return transform(open_picture(path))
        except BrokenPictureError as error:
            return error

    with ThreadPoolExecutor() as readers:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            inputs = list(readers.map(read, batch))
            pictures = [picture for picture in inputs if isinstance(picture, Tensor)]
            with torch.inference_mode():
                probabilities = iter(classify(torch.stack(pictures)).softmax(dim=1) if pictures else ())
            for path, picture in zip(batch, inputs, strict=True):
                if isinstance(picture, Tensor):
                    yield Prediction(shown(path), _likeliest(next(probabilities), metadata.classes, top))
                else:
                    yield Prediction(shown(path), error=str(picture))


def _likeliest(probabilities: Tensor, names: tuple[str, ...], top: int) -> tuple[ClassProbability, ...]:
    best = probabilities.topk(min(top, len(probabilities)))
    return tuple(
        ClassProbability(index, names[index] if names else str(index), probability)
        for index, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
