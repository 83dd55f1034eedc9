"""Folders of pictures: what is listed and what is passed over, which folders are classes and which are splits."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shufflenet.data.datasets import FileDataset, Split
from shufflenet.data.pictures import HEIC_HINT, HEIC_SUFFIXES, SUFFIXES, shown, unreadable_files
from shufflenet.errors import UserError
from shufflenet.text_files import is_unicode

# "val" comes before "test": where there are both (ImageNet), the labels of the test set are often nobody's but the organisers'.
SPLIT_NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"),
}
# What people append to a split's name: "test_set", "Training Images", "seg_train".
BESIDE_SPLIT_NAMES = {"set", "data", "images", "pictures", "split", "seg"}
# What file managers, storage boxes and archivers leave behind; names that begin with a dot are theirs too.
LEFT_BY_PROGRAMS = {"@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "system volume information"}
# Looking at more files at the start would be felt.
FILES_CHECKED = 100_000
NAMES_SHOWN = 5


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out everywhere: `.thumbnails`, `._cat.jpg`, `@eaDir`, `__MACOSX`."""
    return name.startswith(".") or name.casefold() in LEFT_BY_PROGRAMS


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden(name)


@dataclass(frozen=True)
class Listing:
    """The picture files below a folder, relative to it and by name, and how many files of each suffix were passed over."""

    pictures: tuple[str, ...]
    passed_over: Counter[str]


def list_pictures(folder: Path) -> Listing:
    """Every picture anywhere below a folder; links to folders are followed, each folder once."""
    pictures: list[str] = []
    passed_over: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if is_picture_name(name):
                pictures.append(os.path.normpath(os.path.join(os.path.relpath(parent, folder), name)))
            elif not is_hidden(name):
                passed_over[os.path.splitext(name)[1].lower() or "without a suffix"] += 1
    return Listing(tuple(pictures), passed_over)


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """ "3 files were passed over: 2 .txt, 1 .heic (pip install …)"; empty if there were none."""
    total = sum(passed_over.values())
    if not total:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in Counter(passed_over).most_common(NAMES_SHOWN))
    hint = f" ({HEIC_HINT})" if HEIC_SUFFIXES & passed_over.keys() else ""
    return f"{total} file{'s were' if total > 1 else ' was'} passed over: {kinds}{hint}"


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, by name, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def split_of(name: str) -> Split | None:
    """The split that a folder's name stands for, in any case and with what people append to it; None for other names."""
    words = [word for word in re.split(r"[-_. ]+", name.casefold()) if word not in BESIDE_SPLIT_NAMES]
    if len(words) == 1:
        for split, names in SPLIT_NAMES.items():
            if words[0] in names:
                return split
    return None


def split_folders(root: Path, split: Split) -> list[str]:
    """The folders in `root` whose names stand for a split, the one to take first."""

    def place(name: str) -> int:
        words = set(re.split(r"[-_. ]+", name.casefold()))
        return next(place for place, known in enumerate(SPLIT_NAMES[split]) if known in words)

    return sorted((name for name in subfolders(root) if split_of(name) == split), key=place)


def class_folders(root: Path) -> dict[str, list[str]]:
    """The classes in `root`, in the order of their numbers, each with its folders: by name, or by number where all are numbers.

    A class is called as its folder is, in Unicode's composed form, so that the same name typed on a Mac and elsewhere is one class.
    Raises UserError if there is none, or if a name is not UTF-8.
    """
    names = subfolders(root)
    if not names:
        raise UserError(
            f"{root} has no class folders; put the pictures of each class in a folder with the class's name"
        )
    if strange := [name for name in names if not is_unicode(name)]:
        raise UserError(
            f"{len(strange)} of {len(names)} class folders in {root} have names that are not UTF-8, such as "
            f"{os.fsencode(strange[0])!r}; rename them"
        )
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(unicodedata.normalize("NFC", name), []).append(name)
    # "10" sorts before "2" by name: ImageNet-V2's folders, 0 to 999, would be labelled wrongly.
    order = sorted(folders, key=int) if all(name.isascii() and name.isdigit() for name in folders) else sorted(folders)
    return {name: folders[name] for name in order}


def open_class_folders(root: Path, *, single_class: bool = False) -> FileDataset:
    """A set from a folder that holds one folder of pictures, nested ones included, for each class.

    Files that are not named as pictures are passed over, and counted in the set's `passed_over`. Raises UserError for a class without
    any picture, for folders that look like splits or like a wrapping of the classes, and, unless `single_class`, for a single class.
    """
    classes = class_folders(root)
    _refuse_other_layouts(root, list(classes), single_class)
    paths: list[str] = []
    labels: list[int] = []
    passed_over: Counter[str] = Counter()
    for label, folders in enumerate(classes.values()):
        found = []
        passed_over_here: Counter[str] = Counter()
        for folder in folders:
            listing = list_pictures(root / folder)
            found += [os.path.join(folder, path) for path in listing.pictures]
            passed_over_here += listing.passed_over
        passed_over += passed_over_here
        if not found:
            there = describe_passed_over(passed_over_here)
            raise UserError(
                f"class folder {root / folders[0]} has no pictures ({', '.join(sorted(SUFFIXES))}"
                f"{f'; {there}' if there else ''}); fill it or remove it"
            )
        paths += found
        labels += [label] * len(found)
    with os.scandir(root) as entries:
        stray = [entry.name for entry in entries if not entry.is_dir() and not is_hidden(entry.name)]
    passed_over += Counter(os.path.splitext(name)[1].lower() or "without a suffix" for name in stray)
    dataset = FileDataset(root, paths, labels, list(classes))
    dataset.passed_over = passed_over
    refuse_unreadable(root, paths)
    return dataset


def refuse_unreadable(root: Path, paths: Sequence[str]) -> None:
    """Raise UserError, naming some of each kind, if picture files are missing, links to nothing, or pointers of Git LFS."""
    checked = paths[:: max(1, len(paths) // FILES_CHECKED)]
    found = unreadable_files(os.path.join(root, path) for path in checked)
    remedies = {
        "missing": "copy them there, or take them out of the list",
        "links to nothing": "mend the links, or copy the pictures themselves",
        "pointers of Git LFS": f"`git lfs pull` in {root} fetches the pictures",
    }
    told = [
        f"{len(found[kind])} of {len(checked)} picture files are {kind}: {listed(found[kind])}; {remedy}"
        for kind, remedy in remedies.items()
        if kind in found
    ]
    if told:
        raise UserError(". ".join(told))


def listed(names: Sequence[str]) -> str:
    """Some names for a person: the first few, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(shown, names[:NAMES_SHOWN])) + more


def split_has_parts(folder: Path) -> bool:
    """Whether a folder that is called as a split holds class folders or shards, as splits do."""
    return any((child.is_dir() or child.suffix == ".tar") and not is_hidden(child.name) for child in folder.iterdir())


def _refuse_other_layouts(root: Path, classes: Sequence[str], single_class: bool) -> None:
    inside = [subfolders(root / name) for name in classes if (root / name).is_dir()]
    if len(classes) == 1 and inside and inside[0]:
        raise UserError(
            f"{root} has a single class folder, {classes[0]}; give {root / classes[0]}, whose folders {listed(inside[0])} look like "
            "the classes"
        )
    if all(split_of(name) for name in classes):
        raise UserError(
            f"the folders of {root}, {listed(classes)}, are called as splits are, but hold pictures and no class folders; "
            f"give each a folder for each class, as in {root / classes[0] / 'cat'}, or rename them if they are classes"
        )
    if inside and all(names and all(split_of(name) for name in names) for names in inside):
        raise UserError(
            f"each class in {root} has its own splits, such as {Path(classes[0], inside[0][0])}; "
            f"turn that round, as {Path(inside[0][0], classes[0])}, so that the splits can be told apart"
        )
    if len(classes) == 1 and not single_class:
        raise UserError(f"{root} has a single class, {classes[0]}; give at least two, each in a folder of its own")
