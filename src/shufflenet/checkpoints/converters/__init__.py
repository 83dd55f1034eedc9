"""Checkpoints of other implementations of ShuffleNet, made ours: `SOURCES` says how each differs."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from shufflenet.checkpoints.converters import files
from shufflenet.checkpoints.converters.implementation import Implementation, Width, translate
from shufflenet.checkpoints.converters.megvii import MEGVII
from shufflenet.checkpoints.converters.mmpretrain import MMPRETRAIN
from shufflenet.checkpoints.converters.pytorchcv import PYTORCHCV
from shufflenet.checkpoints.converters.tensorpack import TENSORPACK
from shufflenet.checkpoints.imagenet import imagenet_classes
from shufflenet.checkpoints.metadata import Metadata, usual_preprocessing
from shufflenet.errors import UserError
from shufflenet.nets import ShuffleNet, VariantError, create, variants
from shufflenet.nets.network import Network

SOURCES = {source.name: source for source in (MEGVII, PYTORCHCV, MMPRETRAIN, TENSORPACK)}


def convert(
    path_or_state_dict: str | os.PathLike[str] | Mapping[str, Tensor],
    source: str,
    variant: str,
    *,
    training: Mapping[str, Any] | None = None,
) -> Network:
    """A network of ours, in eval mode, that computes what another implementation's checkpoint does.

    `source` is "megvii", "pytorchcv", "mmpretrain" or "tensorpack"; `variant` is the source's own name of the network (pytorchcv's
    `shufflenet_g3_wd4`) or ours. Widths, shuffle order and whatever else the paper's network has otherwise become fields of the
    network's config; the source's preprocessing and, for 1000 classes, ImageNet's names are kept in `.metadata`, with `training`
    added to what is recorded there. Raises UserError for an unknown source or variant, for a file that is damaged or wants to run
    code, and for tensors that are missing, left over or of another shape.
    """
    if source not in SOURCES:
        raise UserError(f"there is no source {source!r}; there are {', '.join(SOURCES)}")
    origin = SOURCES[source]
    width = origin.width(variant)
    if isinstance(path_or_state_dict, Mapping):
        foreign = files.state_dict(path_or_state_dict, "the state dict")
    else:
        foreign = files.read(Path(path_or_state_dict))
    net = _network(foreign, origin, width)
    net.load_state_dict(translate(foreign, origin, net))
    in_channels = net.spec["in_channels"]
    net.metadata = Metadata(
        # Another number of channels is somebody's own retraining, whose preprocessing the source cannot tell.
        origin.preprocessing if in_channels == 3 else usual_preprocessing(in_channels),
        imagenet_classes() if net.spec["num_classes"] == 1000 else (),
        {"source": f"{source} {variant}", "license": origin.license, **(training or {})},
    )
    return net.eval()


def _network(foreign: Mapping[str, Tensor], source: Implementation, width: Width) -> ShuffleNet:
    """The paper's variant nearest to the checkpoint's, with the fields in which it differs; weights still random."""
    name = f"shufflenet_x{str(width.scale).replace('.', '_')}_g{width.groups}"
    if name not in variants():
        name = f"shufflenet_x1_0_g{width.groups}"  # 0.75×, which the paper does not have, is 1× with narrower stages
    if name not in variants():
        raise UserError(f"there is no ShuffleNet with {width.groups} groups; there are 1, 2, 3, 4 and 8")
    fields = {**source.widths(width), **source.arithmetic}
    usual = asdict(variants()[name].config)
    stem, classifier = (source.key(layer, "weight") for layer in (source.stem["stem.0"], source.classifier))
    for key in (stem, classifier):
        if key not in foreign:
            raise UserError(f"the checkpoint has no {key}, as one of {source.name} would; is it another source's?")
    try:
        net = create(
            name,
            num_classes=source.value(classifier, foreign[classifier]).shape[0],
            in_channels=source.value(stem, foreign[stem]).shape[1],
            **{field: value for field, value in fields.items() if value != usual[field]},
        )
    except VariantError as error:
        raise UserError(
            f"{source.name}'s ShuffleNet {width.scale:g}× with {width.groups} groups cannot be: {error}"
        ) from error
    assert isinstance(net, ShuffleNet)
    return net
