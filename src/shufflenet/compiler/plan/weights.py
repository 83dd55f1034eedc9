"""The weights of all steps, packed as the kernels read them, in one row of bytes."""

import numpy as np

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.plan.alignment import aligned

SLACK_BYTES = 256  # at the end: the last vectors may read past their rows


class Weights:
    """Collects arrays; each starts at a cache line. `element` is what weights are stored as, where no other is said."""

    def __init__(self, element: Element = FLOAT32) -> None:
        self.element = element
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, array: np.ndarray, element: Element | None = None) -> int:
        """Append an array as numbers of an element; where it starts, in bytes."""
        element = element or self.element
        start = self._bytes
        piece = array.astype(element.dtype, copy=False).tobytes()
        self._pieces.append(piece.ljust(aligned(len(piece)), b"\0"))
        self._bytes += len(self._pieces[-1])
        return start

    def packed(self) -> np.ndarray:
        """All bytes."""
        return np.frombuffer(b"".join([*self._pieces, bytes(SLACK_BYTES)]), np.uint8)
