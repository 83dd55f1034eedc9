"""Trained networks that ship with the package: the folder DATA/NETWORK is the checkpoint that `shufflenet.load("DATA/NETWORK")` gives."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CONFIG_NAME = "config.json"


def names() -> list[str]:
    return sorted(path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob(f"*/*/{CONFIG_NAME}"))


def config(name: str) -> dict[str, Any]:
    """What the checkpoint's config.json says, without loading the network."""
    return json.loads((FOLDER / name / CONFIG_NAME).read_text(encoding="utf-8"))
