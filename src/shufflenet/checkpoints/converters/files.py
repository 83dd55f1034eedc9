"""Foreign checkpoint files, read without running anything that they contain."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shufflenet.errors import UserError

# What trainers write beside the weights.
BESIDE_WEIGHTS = {"global_step", "learning_rate"}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in a .npz file, or in one that torch.save wrote. Raises UserError for anything else, and for unsafe pickles."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.suffix == ".npz":
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files}, str(path))
        except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} cannot be read as arrays of numbers: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle protocol that torch.save does not use
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is no checkpoint of tensors only (or is damaged), and a pickle may run any code, so it is not opened; "
            "save its state_dict alone with torch.save, where you trust it"
        ) from error
    except Exception as error:  # whatever the unpickler raises for bytes that are not a pickle
        raise UserError(f"{path} is damaged or was not written by torch.save ({type(error).__name__})") from error
    return state_dict(content, str(path))


def state_dict(content: Any, name: str) -> dict[str, Tensor]:
    """The tensors by name in what a checkpoint holds: under `state_dict`, with `module.` before the names, or neither."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(f"{name} holds a {type(content).__name__}, not a state dict")
    tensors = {key.removeprefix("module.").removesuffix(":0"): value for key, value in content.items()}
    weights = {key: value for key, value in tensors.items() if key not in BESIDE_WEIGHTS}
    strange = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    if strange:
        raise UserError(
            f"{name} is not a state dict: {strange[0]!r} is a {type(weights[strange[0]]).__name__}, not a tensor"
        )
    return weights
