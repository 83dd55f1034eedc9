"""How another implementation's checkpoints differ from ours, as data, and the one way in which all of them are read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from shufflenet.checkpoints.folder import mismatch
from shufflenet.checkpoints.metadata import Preprocessing
from shufflenet.errors import UserError
from shufflenet.nets import ShuffleNet, channel_shuffle
from shufflenet.nets.shufflenet import Unit
from shufflenet.nets.variants import STAGE2_CHANNELS

STAGE_REPEATS = (4, 8, 4)  # of all four
OUR_NAME = re.compile(r"shufflenet_x(?P<scale>\d_\d+)_g(?P<groups>\d)")


@dataclass(frozen=True)
class Width:
    """Which network of a family: the paper's "s×, g = n"."""

    scale: float
    groups: int

    @property
    def table1_channels(self) -> tuple[int, int, int]:
        """Table 1's stage widths for these groups, unscaled."""
        stage2 = STAGE2_CHANNELS[self.groups]
        return stage2, 2 * stage2, 4 * stage2


def same_key(layer: str, tensor: str) -> str:
    """How torch spells a layer's tensor: `features.0.weight`."""
    return f"{layer}.{tensor}"


def same_value(key: str, value: Tensor) -> Tensor:
    """A tensor in torch's layout already."""
    return value


@dataclass(frozen=True)
class Implementation:
    """One foreign implementation of ShuffleNet.

    `own_name` is the form of its variants' names, whose match `own_width` reads. `widths` gives the config fields with its widths,
    `arithmetic` those in which it computes otherwise than the paper. `layers` names its layers by ours: of the stem, of a unit (given
    stage 2–4 and the unit's number in it), of the classifier. `key` spells a layer's tensor, `value` brings it into torch's layout.
    """

    name: str
    license: str
    preprocessing: Preprocessing
    own_name: re.Pattern[str]
    own_width: Callable[[re.Match[str]], Width]
    widths: Callable[[Width], dict[str, Any]]
    stem: Mapping[str, str]
    unit: Callable[[int, int], dict[str, str]]
    classifier: str
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    shuffles_after_depthwise: bool = False
    key: Callable[[str, str], str] = same_key
    value: Callable[[str, Tensor], Tensor] = same_value

    def width(self, variant: str) -> Width:
        """Scale and groups of `variant`, which goes by the source's own name or ours. Raises UserError for another name."""
        ours = OUR_NAME.fullmatch(variant)
        theirs = self.own_name.fullmatch(variant)
        if ours:
            return Width(float(ours["scale"].replace("_", ".")), int(ours["groups"]))
        if theirs:
            return self.own_width(theirs)
        raise UserError(
            f"{variant!r} is no ShuffleNet of {self.name}; give its own name for it, of the form {self.own_name.pattern}, "
            "or ours, such as shufflenet_x1_0_g3"
        )

    def layers(self) -> dict[str, str]:
        """Our name of every layer with weights → theirs."""
        names = dict(self.stem)
        for stage, repeats in enumerate(STAGE_REPEATS, start=2):
            for number in range(repeats):
                names |= {f"stage{stage}.{number}.{ours}": theirs for ours, theirs in self.unit(stage, number).items()}
        return names | {"classifier": self.classifier}


def moved_before_depthwise(name: str, value: Tensor, net: ShuffleNet) -> Tensor:
    """A depthwise layer's tensor, reordered so that the shuffle may come before the layer as in the paper, with the same result.

    Shuffled channel i is channel p[i], and a depthwise layer leaves channels apart: weighting p[i] and then shuffling is shuffling
    and then weighting i with what was p[i]'s.
    """
    unit = net.get_submodule(name.rpartition(".depthwise")[0])
    assert isinstance(unit, Unit)
    if unit.shuffle_groups is None or value.ndim == 0:  # no shuffle; the count of BN's batches
        return value
    order = channel_shuffle(torch.arange(len(value)).reshape(1, -1, 1, 1), unit.shuffle_groups).flatten()
    return value[order]


def translate(foreign: Mapping[str, Tensor], source: Implementation, net: ShuffleNet) -> dict[str, Tensor]:
    """`foreign` as a state dict for `net`. Raises UserError naming tensors that are missing, left over or of another shape."""
    layers = source.layers()
    own = net.state_dict()
    theirs = {ours: source.key(layers[layer], tensor) for ours in own for layer, _, tensor in [ours.rpartition(".")]}
    given = {key: source.value(key, value) for key, value in foreign.items()}
    # BN's counts of batches are not needed for a prediction, and absent from files of old versions and other frameworks.
    absent = {ours for ours in own if ours.endswith("num_batches_tracked") and theirs[ours] not in given}
    complaint = mismatch({theirs[ours]: value for ours, value in own.items() if ours not in absent}, given)
    if complaint:
        raise UserError(f"the checkpoint is not that ShuffleNet of {source.name}: it {complaint}")
    weights = {ours: own[ours] if ours in absent else given[theirs[ours]] for ours in own}
    if source.shuffles_after_depthwise:
        for name in weights:
            if ".depthwise." in name:
                weights[name] = moved_before_depthwise(name, weights[name], net)
    return weights
