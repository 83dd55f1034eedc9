"""Which class of a network a class of a data set is: by name or by ImageNet's synset, never by position alone."""

import re
import unicodedata
from collections.abc import Sequence

from shufflenet.checkpoints.imagenet import imagenet_classes, imagenet_synsets
from shufflenet.errors import UserError

SYNSET = re.compile(r"n\d{8}\b")


def with_names(classes: Sequence[str]) -> tuple[str, ...]:
    """ImageNet's class folders as people read them: "n01440764" becomes "n01440764 tench"; other classes stay as they are."""
    names = dict(zip(imagenet_synsets(), imagenet_classes(), strict=True))
    return tuple(f"{name} {names[name]}" if name in names else name for name in classes)


def class_map(dataset_classes: Sequence[str], network_classes: Sequence[str]) -> list[int]:
    """For each class of the data set, its number among the network's classes.

    Two classes are the same if their names are, or their synsets ("n01440764", "n01440764 tench"). Folders numbered 0 to 999
    (ImageNet-V2's) and a network with ImageNet's 1000 English names stand for the synsets in their order. The network may know
    classes that the data set lacks; raises UserError, naming some, for classes that the network does not know.
    """
    if tuple(dataset_classes) == tuple(network_classes):
        return list(range(len(network_classes)))
    network_keys = class_keys(network_classes)
    number_of = {key: number for number, key in enumerate(network_keys)}
    if len(number_of) < len(network_keys):
        raise UserError(
            "the network has several classes of one name, which labels cannot tell apart; rename them in its config.json"
        )
    numbered = [str(number) for number in range(len(imagenet_synsets()))]
    if list(dataset_classes) == numbered and set(imagenet_synsets()) == number_of.keys():
        return [number_of[synset] for synset in imagenet_synsets()]
    keys = class_keys(dataset_classes)
    unknown = [name for name, key in zip(dataset_classes, keys, strict=True) if key not in number_of]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        raise UserError(f"the network does not know {len(unknown)} of the data set's {len(keys)} classes: {shown}")
    return [number_of[key] for key in keys]


def class_keys(classes: Sequence[str]) -> list[str]:
    """What tells classes apart: the synset where the name begins with one, else the name, in Unicode's composed form."""
    if tuple(classes) == imagenet_classes():
        return list(imagenet_synsets())
    return [
        synset.group() if (synset := SYNSET.match(name)) else unicodedata.normalize("NFC", name) for name in classes
    ]
