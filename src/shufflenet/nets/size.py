"""A picture's size, as everything here takes it: height and width in pixels, or one whole number for a square."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

from shufflenet.nets.errors import VariantError

Size = int | tuple[int, int]


def height_width(size: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, int]:
    """(height, width) of a size. Raises VariantError for anything else: a fraction, three numbers, less than 1."""
    try:
        height, width = size if isinstance(size, Sequence) else (size, size)
        found = operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        found = (0, 0)
    if min(found) < 1 or isinstance(size, str):
        raise VariantError(
            f"{size!r} is no picture size; give height and width in whole pixels, or one number for a square"
        )
    return found
