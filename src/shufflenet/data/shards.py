"""WebDataset shards: tar files with a picture "KEY.jpg" beside its class "KEY.cls" (https://github.com/webdataset/webdataset).

They are read through an index of where each picture lies, so that a set of shards is a data set like any other: shuffled over
all shards, dealt to ranks and workers to the picture, taken up in the middle of an epoch. `write_shards` keeps the index beside the
shards, `write_index` makes it for shards of others; without one, opening walks all tar headers.
"""

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
from PIL.Image import Image

from shufflenet.data.datasets import PictureDataset
from shufflenet.data.folders import is_hidden
from shufflenet.data.pictures import SUFFIXES, BrokenPictureError, open_picture
from shufflenet.errors import UserError
from shufflenet.text_files import read_names

# Shards.
SHUFFLED_TOGETHER = 16
CLASSES_NAME = "classes.txt"


@dataclass(frozen=True)
class ShardIndex:
    """Where the pictures of some shards lie: for picture i its shard's number, the offset and size of its bytes, and its label."""

    # [shards], to tell an index that is older than its shards.
    shard_bytes: np.ndarray
    # Each [pictures].
    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    # Names.
    classes: np.ndarray


class ShardDataset(PictureDataset):
    """The pictures in local shards, by an index. Read with pread, so that one open file serves all threads and forked workers."""

    def __init__(self, paths: Sequence[Path], index: ShardIndex) -> None:
        self.index = index
        self.labels = index.labels
        self.classes = tuple(index.classes.tolist())
        self._files = _Files(paths)

    @property
    def paths(self) -> Sequence[Path]:
        return self._files.paths

    def name(self, index: int) -> str:
        number, offset = int(self.index.shards[index]), int(self.index.offsets[index])
        header = self._files.read(number, offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        return f"{self.paths[number]}:{header[:100].rstrip(bytes(1)).decode('utf-8', 'replace')}"

    def encoded(self, index: int) -> bytes:
        """The picture's file as it lies in its shard."""
        number, offset, size = (
            int(field[index]) for field in (self.index.shards, self.index.offsets, self.index.sizes)
        )
        data = self._files.read(number, offset, size)
        if len(data) < size:
            raise BrokenPictureError(f"{self.paths[number]} ends within picture {index}: the shard is truncated")
        return data

    def __getitem__(self, index: int) -> tuple[Image, int]:
        label = int(self.labels[index])
        try:
            return open_picture(self.encoded(index)), label
        except BrokenPictureError:
            # Now with its name, which takes a read to know.
            return open_picture(self.encoded(index), self.name(index)), label

    def file_keys(self) -> list[str]:
        names = [path.name for path in self.paths]
        return [f"{names[shard]}:{offset}" for shard, offset in zip(self.index.shards, self.index.offsets, strict=True)]

    def subset(self, indices: np.ndarray) -> Self:
        other = super().subset(indices)
        fields = {name: getattr(self.index, name)[indices] for name in ("shards", "offsets", "sizes", "labels")}
        other.index = replace(self.index, **fields)
        return other

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Shards in random order, their pictures shuffled among 16 at a time: reads stay within few files, as disks like it."""
        random = np.random.default_rng((seed, epoch))
        shards = random.permutation(len(self.paths))
        starts = np.searchsorted(self.index.shards, np.arange(len(self.paths) + 1))
        runs = [np.arange(*starts[shard : shard + 2].tolist()) for shard in shards.tolist()]
        windows = [runs[first : first + SHUFFLED_TOGETHER] for first in range(0, len(runs), SHUFFLED_TOGETHER)]
        return np.concatenate([random.permutation(np.concatenate(window)) for window in windows])


def open_shards(pattern: str | Path) -> ShardDataset:
    """The pictures of the shards that a pattern names, such as "train-{000..146}.tar" or "train-*.tar".

    Raises UserError for shards that are missing, damaged, without class files, or newer than their index.
    """
    paths = expand(str(pattern))
    kept = index_path(paths)
    if not kept.exists():
        return ShardDataset(paths, make_index(paths))
    with np.load(kept, allow_pickle=False) as arrays:
        index = ShardIndex(**arrays)
    if index.shard_bytes.tolist() != [path.stat().st_size for path in paths]:
        raise UserError(
            f"{kept} does not belong to these {len(paths)} shards; write it anew with `shufflenet shards index`"
        )
    return ShardDataset(paths, index)


def expand(pattern: str) -> list[Path]:
    """The files that a pattern with {FIRST..LAST} and glob's wildcards names, in order. Raises UserError if any is missing."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match:
        first, last = match.groups()
        numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        paths = [
            path for number in numbers for path in expand(pattern[: match.start()] + number + pattern[match.end() :])
        ]
    elif any(character in pattern for character in "*?["):
        paths = sorted(Path(pattern).parent.glob(Path(pattern).name))
    else:
        paths = [Path(pattern)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise UserError(f"shard {missing[0]} is missing" if missing else f"no shards match {pattern}")
    return paths


def make_index(paths: Sequence[Path]) -> ShardIndex:
    """Walk the tar headers of some shards.

    A class is an integer or a name in KEY.cls; the names of integers come from classes.txt beside the shards, one a line, if it is there.
    """
    rows = [(number, *picture) for number, path in enumerate(paths) for picture in _pictures(path)]
    if not rows:
        raise UserError(f"{paths[0]} and its like hold no pictures")
    shards, offsets, sizes, texts = zip(*rows, strict=True)
    names_path = paths[0].parent / CLASSES_NAME
    names = read_names(names_path) if names_path.exists() else None
    if all(text.isdigit() for text in texts):
        labels = np.array(texts, dtype=np.int64)
        classes = names or [str(number) for number in range(labels.max() + 1)]
        if labels.max() >= len(classes):
            raise UserError(f"{names_path} names {len(classes)} classes; the shards have a class {labels.max()}")
    else:
        classes = names or sorted(set(texts))
        unknown = set(texts) - set(classes)
        if unknown:
            raise UserError(f"{names_path} lacks the class {min(unknown)!r} of the shards")
        labels = np.array([classes.index(text) for text in texts])
    return ShardIndex(
        shard_bytes=np.array([path.stat().st_size for path in paths]),
        shards=np.array(shards),
        offsets=np.array(offsets),
        sizes=np.array(sizes),
        labels=labels,
        classes=np.array(classes),
    )


class _Files:
    """Files open for reading at any offset, each opened when first needed, anew in every process that starts afresh."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.descriptors: dict[int, int] = {}

    def read(self, number: int, offset: int, size: int) -> bytes:
        if number not in self.descriptors:
            try:
                self.descriptors[number] = os.open(self.paths[number], os.O_RDONLY)
            except OSError as error:
                raise BrokenPictureError(f"{self.paths[number]} cannot be read: {error.strerror}") from error
        return os.pread(self.descriptors[number], size, offset)

    def __getstate__(self) -> dict[str, object]:
        return {"paths": self.paths, "descriptors": {}}

    def __del__(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)


def _pictures(path: Path) -> Iterator[tuple[int, int, str]]:
    """(offset, size, class) of each picture in a shard: members that follow one another and share their key are one sample."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = ((*_split(member.name), member) for member in tar if member.isfile() and not _hidden(member.name))
            for key, sample in groupby(members, key=lambda entry: entry[0]):
                files = {suffix: member for _, suffix, member in sample}
                pictures = [member for suffix, member in files.items() if suffix in SUFFIXES]
                if ".cls" not in files or len(pictures) != 1:
                    raise UserError(
                        f"{path}: {key} has {', '.join(sorted(files))}; a sample is one picture and its .cls"
                    )
                label = tar.extractfile(files[".cls"])
                assert label is not None
                yield pictures[0].offset_data, pictures[0].size, label.read().decode().strip()
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"shard {path} cannot be read: {error}") from error


def _hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.removeprefix("./").split("/"))


def _split(name: str) -> tuple[str, str]:
    """WebDataset's rule: the key ends at the first dot of the file's own name."""
    folder, file = os.path.split(name)
    key, dot, suffix = file.partition(".")
    return os.path.join(folder, key), (dot + suffix).lower()


def index_path(paths: Sequence[Path]) -> Path:
    """For train-000000.tar and so on: train-index.npz beside them."""
    stem = paths[0].stem.rstrip("0123456789")
    return paths[0].with_name(f"{stem}index.npz")
