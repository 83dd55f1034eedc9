"""Networks to learn from: this project's, and every network that timm or torchvision has trained weights of."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.data.classes import imagenet_synsets
from shufflenet.errors import UserError
from shufflenet.nets import Network


@dataclass(frozen=True)
class TeacherNetwork:
    """A trained network by any maker: [n, channels, h, w], normalised as `metadata` says → a logit for each of its classes."""

    name: str
    net: nn.Module
    metadata: Metadata


def library_teacher(name: str) -> TeacherNetwork | None:
    """`torchvision/NAME` with its default weights or `timm/NAME` with its pretrained ones; None for what names neither.

    Weights that are not in the libraries' caches are fetched. Raises UserError for a name that the library does not know.
    """
    library, _, rest = name.partition("/")
    if library not in LIBRARIES or Path(name).exists():
        return None
    return LIBRARIES[library](rest)


def as_teacher(net: Network) -> TeacherNetwork:
    return TeacherNetwork(net.spec["name"], net, net.metadata)


def _from_torchvision(name: str) -> TeacherNetwork:
    from torchvision import models

    _check_name("torchvision", name, models.list_models(module=models))
    weights = models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    transform = weights.transforms()
    preprocessing = Preprocessing(mean=tuple(transform.mean), std=tuple(transform.std))
    net = _fetched("torchvision", name, lambda: models.get_model(name, weights=weights))
    return TeacherNetwork(f"torchvision/{name}", net, Metadata(preprocessing, tuple(weights.meta["categories"])))


def _from_timm(name: str) -> TeacherNetwork:
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"the teacher timm/{name} is timm's, which is not installed; pip install 'shufflenet[timm]'"
        ) from error
    _check_name("timm", name, timm.list_models(pretrained=True))
    net: Any = _fetched("timm", name, lambda: timm.create_model(name, pretrained=True))
    described = net.pretrained_cfg
    classes = described.get("label_names") or (imagenet_synsets() if described["num_classes"] == 1000 else ())
    preprocessing = Preprocessing(mean=tuple(described["mean"]), std=tuple(described["std"]))
    return TeacherNetwork(f"timm/{name}", net, Metadata(preprocessing, tuple(classes)))


def _check_name(library: str, name: str, known: list[str]) -> None:
    # timm names weights after a point: several of one architecture.
    if name in known or name.partition(".")[0] in {entry.partition(".")[0] for entry in known} - {name}:
        return
    near = get_close_matches(name, known, n=3)
    raise UserError(
        f"{library} has no trained network {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")
    )


def _fetched(library: str, name: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights of {library}/{name} cannot be had: {' '.join(str(error).split())[:200]}"
        ) from error


LIBRARIES: dict[str, Callable[[str], TeacherNetwork]] = {"torchvision": _from_torchvision, "timm": _from_timm}
