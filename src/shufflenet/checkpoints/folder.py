"""A checkpoint as a folder: config.json says what the network is, model.safetensors holds its weights."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from shufflenet import atomic
from shufflenet.checkpoints.metadata import Metadata, usual_preprocessing
from shufflenet.errors import UserError
from shufflenet.nets import VariantError, create
from shufflenet.nets.network import Network
from shufflenet.nets.quantized import QuantizedNetwork, empty
from shufflenet.pretrained import CONFIG_NAME
from shufflenet.text_files import is_unicode, read_text

WEIGHTS_NAME = "model.safetensors"
# What config.json says under "format".
CLASSIFIER, DETECTOR = "shufflenet", "shufflenet-detector"
DTYPES = {"float32": torch.float32, "float16": torch.float16}


def metadata_of(net: Network) -> Metadata:
    """What `net` carries, or what is usual for one that carries nothing."""
    return net.metadata or Metadata(usual_preprocessing(net.spec["in_channels"]))


def _checked(metadata: Metadata, spec: Mapping[str, Any]) -> Metadata:
    if metadata.classes and len(metadata.classes) != spec["num_classes"]:
        raise UserError(f"it names {len(metadata.classes)} classes and its network tells {spec['num_classes']} apart")
    if strange := [name for name in metadata.classes if not is_unicode(name)]:
        raise UserError(
            f"{len(strange)} of its class names are not UTF-8, such as {os.fsencode(strange[0])!r}; rename them"
        )
    if metadata.preprocessing.channels != spec["in_channels"]:
        raise UserError(
            f"its preprocessing gives {metadata.preprocessing.channels} channels and its network takes {spec['in_channels']}"
        )
    return metadata


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.cpu().contiguous()
    stored = tensor.detach().cpu().to(dtype).contiguous()
    if stored.isinf().any() and not tensor.isinf().any():
        raise UserError(
            f"{name} holds {tensor.abs().max().item():.3g}, too large for float16; save it with dtype='float32'"
        )
    return stored


def save(
    net: nn.Module,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write `net` as a folder that `load` reads: config.json (architecture, preprocessing, classes, training) and model.safetensors.

    Preprocessing and classes come from `net.metadata`; a network without it is saved with ImageNet's preprocessing. `dtype="float16"`
    halves the file; `load` computes in float32 either way. A quantized network is saved as integers and the scales they stand at, and
    config.json says so under "quantization". A new folder appears complete or not at all; with `overwrite=True` the two
    files in an existing folder are replaced and its others are left alone. Returns the folder. Raises UserError if the folder holds
    anything and `overwrite` is false, if classes or channels do not match the network, or if a weight does not fit `dtype`.
    """
    if not isinstance(net, Network):
        raise UserError(
            f"a {type(net).__name__} cannot be saved; give a network from shufflenet.create, load or convert"
        )
    if dtype not in DTYPES:
        raise UserError(f"dtype is {dtype!r}; it is one of {', '.join(DTYPES)}")
    try:
        metadata = _checked(metadata_of(net), net.spec)
    except UserError as error:
        raise UserError(f"{net.spec['name']} cannot be saved: {error}") from error
    config = {"format": CLASSIFIER, "architecture": net.spec, **metadata.to_json()}
    if isinstance(net, QuantizedNetwork):
        if dtype != "float32":
            raise UserError(f"{net.spec['name']} is int8 already; save it without dtype={dtype!r}")
        net = net.integers()
        config["quantization"] = net.record
    weights = {name: _stored(name, tensor, DTYPES[dtype]) for name, tensor in net.state_dict().items()}
    return write_folder(Path(folder), config, weights, overwrite=overwrite)


def write_folder(folder: Path, config: Mapping[str, Any], weights: dict[str, Tensor], *, overwrite: bool) -> Path:
    """Write a checkpoint's two files, with what `save` promises of folders. Detectors are saved through it too."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a checkpoint needs a folder")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError(
            f"{folder} is not empty; choose another folder, or overwrite it on purpose (overwrite=True, --overwrite)"
        )
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"

    def write(target: Path) -> None:
        with atomic.writing(target / WEIGHTS_NAME) as path:
            # Its save_file leaves a file that only its owner can read.
            path.write_bytes(safetensors_bytes(weights, {"format": "pt"}))
        atomic.write_text(target / CONFIG_NAME, text)

    try:
        if folder.exists() and any(folder.iterdir()):
            write(folder)
        else:
            with atomic.writing_folder(folder) as complete:
                write(complete)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint's folder. Raises UserError if it is missing or no JSON object."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CONFIG_NAME}; it is not a checkpoint that shufflenet saved") from error
    except (json.JSONDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} names no architecture; it is not a checkpoint that shufflenet saved")
    return config


def _read_network(folder: Path) -> tuple[dict[str, Any], Metadata, dict[str, Any] | None]:
    """Its architecture, what is known of it, and how it was quantized, if it was."""
    path = folder / CONFIG_NAME
    config = read_config(folder)
    if config.get("format") == DETECTOR:
        raise UserError(f"{folder} holds a detector, which the verbs of `shufflenet detect` take")
    architecture = config.get("architecture")
    if not isinstance(architecture, dict) or "name" not in architecture:
        raise UserError(f"{path} names no architecture; it is not a checkpoint that shufflenet saved")
    quantization = config.get("quantization")
    if quantization is not None and not isinstance(quantization, dict):
        raise UserError(f"{path} cannot be used: its 'quantization' is not an object")
    try:
        return architecture, Metadata.from_json(config), quantization
    except UserError as error:
        raise UserError(f"{path} cannot be used: {error}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint's folder, as float32. Raises UserError if they are missing or damaged."""
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise UserError(f"{folder} has no {WEIGHTS_NAME}; copy it there, or save the network again")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is cut short or damaged ({error}); copy or download it again") from error
    # Copied, because safetensors hands out views into the file's bytes, which are not aligned as torch's own memory is.
    return {
        name: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
        for name, tensor in weights.items()
    }


def mismatch(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """What keeps `given` from filling exactly the tensors of `expected`, in words; None if nothing does."""
    problems = {
        "lacks": [name for name in expected if name not in given],
        "has no place for": [name for name in given if name not in expected],
        "has another shape for": [
            f"{name} ({_shape(given[name])} for {_shape(tensor)})"
            for name, tensor in expected.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    return "; ".join(f"{problem} {_listed(names)}" for problem, names in problems.items() if names) or None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def load_folder(folder: Path) -> Network:
    """The network that `save` wrote into `folder`, in eval mode. Raises UserError for whatever is wrong with the folder."""
    architecture, metadata, quantization = _read_network(folder)
    try:
        # Without values, since the file has them all: nothing is initialized only to be thrown away.
        if quantization is None:
            with torch.device("meta"):
                net = create(**architecture)
        else:
            net = empty(architecture, str(quantization.get("activations")))
        net.metadata = _checked(metadata, net.spec)
    except (VariantError, UserError, TypeError) as error:
        raise UserError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    weights = read_weights(folder)
    complaint = mismatch(net.state_dict(), weights)
    if complaint:
        raise UserError(
            f"{folder / WEIGHTS_NAME} does not fit {architecture['name']} as {CONFIG_NAME} describes it: it {complaint}"
        )
    net.load_state_dict(weights, assign=True)
    return net.eval()
