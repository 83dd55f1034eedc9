"""What a network says of picture files: read, preprocess, classify, name; a file that cannot be read does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from shufflenet.checkpoints import Metadata
from shufflenet.data.pictures import SUFFIXES, BrokenPictureError, open_picture
from shufflenet.data.transforms import evaluation_transform
from shufflenet.errors import UserError

LARGEST_RESIZED_PIXELS = 2 * 89_478_485  # where Pillow, too, takes a picture for a decompression bomb


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


def picture_files(places: Sequence[str | Path]) -> list[Path]:
    """The files among `places` and the pictures anywhere in its folders, by name. Raises UserError for a folder without any."""
    files: list[Path] = []
    for place in map(Path, places):
        if not place.is_dir():
            files.append(place)
            continue
        inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not inside:
            raise UserError(f"there are no pictures in {place}; their names end in {', '.join(sorted(SUFFIXES))}")
        files += inside
    return files


def predict(
    classify: Callable[[Tensor], Tensor],
    metadata: Metadata,
    files: Sequence[Path],
    *,
    top: int = 5,
    batch_size: int = 32,
) -> Iterator[Prediction]:
    """One Prediction a file, in order. `classify` takes [n, channels, height, width] → logits [n, classes].

    Pictures are read by several threads, a batch at a time, so that a long list takes no more memory than a short one.
    """
    transform = evaluation_transform(metadata.preprocessing)

    def read(path: Path) -> Tensor | BrokenPictureError:
        try:
            return transform(_resizable(open_picture(path), path, metadata.preprocessing.short_side))
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
                    yield Prediction(str(path), _likeliest(next(probabilities), metadata.classes, top))
                else:
                    yield Prediction(str(path), error=str(picture))


def _resizable(picture: Image.Image, path: Path, short_side: int | None) -> Image.Image:
    """`picture`, unless it is a thread that grows into gigabytes when its short side is resized."""
    aspect = max(picture.size) / min(picture.size)
    if short_side and short_side**2 * aspect > LARGEST_RESIZED_PIXELS:
        raise BrokenPictureError(f"{path} is absurdly narrow, {picture.width}×{picture.height}: crop it first")
    return picture


def _likeliest(probabilities: Tensor, names: tuple[str, ...], top: int) -> tuple[ClassProbability, ...]:
    best = probabilities.topk(min(top, len(probabilities)))
    return tuple(
        ClassProbability(index, names[index] if names else str(index), probability)
        for index, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
