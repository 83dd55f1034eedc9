"""What a run writes beside its checkpoints, whatever its task: the recipe it obeys, and the record it ends with."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator
from torch import nn

from shufflenet.atomic import write_text
from shufflenet.data import listed
from shufflenet.errors import UserError
from shufflenet.training.checkpoint_files import list_checkpoints, prepare_folder
from shufflenet.training.environment import environment
from shufflenet.training.loop import Fit
from shufflenet.training.recipe import Recipe, to_dict

# What may change between the parts of a run without making it another run.
UPKEEP = {
    "workers",
    "log_iterations",
    "checkpoint_iterations",
    "keep_checkpoints",
    "max_broken_share",
    "compile",
    "accumulation",
}


def open_run(
    folder: Path, net: nn.Module, settings: Mapping[str, Any], *, resume: bool, kept: int, averaged: bool
) -> None:
    """Make the run folder and write `settings`, the recipe's among them, into its recipe.yaml.

    There has to be room for `kept` checkpoints of `net`, each with the running average of its weights if it is `averaged`.

    Raises UserError if the folder holds another run, or cannot hold this one.
    """
    checkpoint_bytes = 4 * sum(tensor.numel() for tensor in net.state_dict().values()) * (3 if averaged else 2)
    prepare_folder(folder / "checkpoints", needed_bytes=(kept + 1) * checkpoint_bytes)
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    record = folder / "recipe.yaml"
    if list_checkpoints(folder / "checkpoints"):
        if not resume:
            raise UserError(f"{folder} holds a run already; go on with it (--resume), or choose another folder")
        begun = yaml.safe_load(record.read_text(encoding="utf-8")) if record.exists() else {}
        asked = yaml.safe_load(text)
        if "classes" in begun and begun["classes"] != asked.get("classes"):
            raise UserError(
                f"{folder} was begun with other classes: {_class_changes(begun['classes'], asked.get('classes', []))}; "
                "resume it with the classes it was begun with, or train anew in another folder, from its network (--from) if you like"
            )
        changed = _changed_settings(begun, asked)
        if changed:
            raise UserError(
                f"{folder} was begun with another {', '.join(changed)} (see {record}); resume it as it was begun, or choose another folder"
            )
    write_text(record, text)


def _changed_settings(begun: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """A setting that did not exist when the run was begun had its default then."""
    defaults = to_dict(Recipe())
    return [
        name
        for name, value in settings.items()
        if name not in UPKEEP and begun.get(name, defaults.get(name, value)) != value
    ]


def _class_changes(begun: Sequence[str], asked: Sequence[str]) -> str:
    gone = [name for name in begun if name not in asked]
    new = [name for name in asked if name not in begun]
    if not gone and not new:
        return "they stand in another order"
    changes = {"is gone": gone, "is new": new}
    return ", ".join(f"{listed(names)} {what}" for what, names in changes.items() if names)


def run_record(recipe: Recipe, pictures: int, result: Fit, iterations: int, accelerator: Accelerator) -> dict[str, Any]:
    """What the checkpoint's metadata and result.json say about a run on so many training pictures."""
    progress = result.progress
    figures = progress.evaluations[-1] if progress.evaluations else {}
    return {
        "recipe": to_dict(recipe),
        "seed": recipe.seed,
        "training_pictures": pictures,
        "iterations": iterations,
        "epochs": iterations * recipe.batch_size / pictures,
        **{name: value for name, value in figures.items() if name not in ("iteration", "epoch")},
        "images_per_second": progress.images_per_second,
        "waiting_share": progress.waiting_seconds / max(progress.seconds, 1e-9),
        "training_seconds": progress.seconds,
        "processes": accelerator.num_processes,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` so that a reader sees all of it or what was there before."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
