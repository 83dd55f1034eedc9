"""Writes the shards that `shards` reads, and the index that lets it read any of their pictures at once."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from shufflenet import atomic
from shufflenet.data.datasets import FileDataset, PictureDataset
from shufflenet.data.shards import CLASSES_NAME, ShardIndex, expand, index_path, make_index
from shufflenet.errors import UserError
from shufflenet.text_files import read_names

SHARD_BYTES = 256 * 2**20  # sequential enough for disks, and enough of them to deal out: ImageNet becomes about 560


def write_index(pattern: str) -> Path:
    """Keep the index of some shards beside them, so that opening them takes a moment; the file's path."""
    paths = expand(pattern)
    return _write_index(paths, make_index(paths))


def write_shards(
    dataset: PictureDataset,
    folder: Path,
    prefix: str,
    *,
    shard_bytes: int = SHARD_BYTES,
    seed: int = 0,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[Path]:
    """Write a data set, in a random order, to FOLDER/PREFIX-000000.tar and so on, with their index and classes.txt; the shards' paths.

    Files are stored byte for byte, pictures in memory as PNG. `progress` wraps the loop over the pictures, as rich's `track` does.
    Raises UserError if such shards, or other classes, are there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(folder.glob(f"{prefix}-*.tar"))
    if there:
        raise UserError(f"{there[0]} exists; remove the old shards or choose another folder")
    _write_classes(folder / CLASSES_NAME, dataset.classes)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(dataset)).tolist()
    samples = (_sample(dataset, item, f"{position:08d}") for position, item in enumerate(progress(order)))
    paths: list[Path] = []
    for part in _parts(samples, shard_bytes):
        paths.append(folder / f"{prefix}-{len(paths):06d}.tar")
        with atomic.writing(paths[-1]) as temporary:
            _write_tar(part, temporary)
    _write_index(paths, make_index(paths))
    return paths


def _sample(dataset: PictureDataset, item: int, key: str) -> dict[str, bytes]:
    """The two members of a picture's sample: names and contents."""
    if isinstance(dataset, FileDataset):
        path = Path(dataset.path(item))
        suffix, data = path.suffix.lower(), path.read_bytes()
    else:
        buffer = io.BytesIO()
        dataset[item][0].save(buffer, "PNG")
        suffix, data = ".png", buffer.getvalue()
    return {key + suffix: data, f"{key}.cls": b"%d" % dataset.labels[item]}


def _parts(samples: Iterable[dict[str, bytes]], part_bytes: int) -> Iterator[list[dict[str, bytes]]]:
    """The samples in lists that are as long as `part_bytes` allow."""
    part: list[dict[str, bytes]] = []
    total = 0
    for sample in samples:
        size = sum(map(len, sample.values()))
        if part and total + size > part_bytes:
            yield part
            part, total = [], 0
        part.append(sample)
        total += size
    yield part


def _write_tar(samples: Iterable[dict[str, bytes]], path: Path) -> None:
    with tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for name, data in sample.items():
                # Its time and owner stay 0: the same pictures make the same bytes.
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _write_index(paths: Sequence[Path], index: ShardIndex) -> Path:
    path = index_path(paths)
    with atomic.writing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **vars(index))
    return path


def _write_classes(path: Path, classes: Sequence[str]) -> None:
    if path.exists() and read_names(path) != list(classes):
        raise UserError(f"{path} names other classes; choose another folder")
    atomic.write_text(path, "".join(f"{name}\n" for name in classes))
