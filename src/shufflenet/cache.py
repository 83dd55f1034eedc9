"""Where files are kept that can be made or downloaded again: built libraries, the C compiler's own, data sets."""

import os
from pathlib import Path

import platformdirs

from shufflenet.errors import UserError

VARIABLE = "SHUFFLENET_CACHE"


def cache_folder() -> Path:
    """$SHUFFLENET_CACHE, or the platform's place for such things. Raises UserError for a user without a home."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).absolute()
    try:
        found = platformdirs.user_cache_path("shufflenet", appauthor=False)
    # Newer releases raise for a user without a home folder.
    except RuntimeError:
        found = Path("~")
    # Older ones give "~", as it is.
    if found.parts[0].startswith("~"):
        raise UserError(
            f"this user has no home folder to keep a cache in; set {VARIABLE} to a folder that may be written"
        )
    return found


def made_folder(*parts: str) -> Path:
    """A folder in the cache, made if it is missing. Raises UserError where it cannot be."""
    folder = cache_folder().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache {folder} cannot be written ({error.strerror}); set {VARIABLE} to a folder that may be"
        ) from error
    return folder
