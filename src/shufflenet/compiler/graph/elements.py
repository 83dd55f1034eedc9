"""What a tensor's numbers are: one row an element type."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

NumberType = Literal["float32", "float16"]


@dataclass(frozen=True)
class Element:
    """An element type: its size, and what it is called in C and in numpy."""

    name: str
    bytes: int
    c_type: str
    dtype: np.dtype

    def count(self, size: int) -> int:
        """How many numbers lie in so many bytes."""
        return size // self.bytes

    def __str__(self) -> str:
        return self.name


FLOAT32 = Element("float32", 4, "float", np.dtype("<f4"))
FLOAT16 = Element("float16", 2, "half", np.dtype("<f2"))
U8 = Element("uint8", 1, "uint8_t", np.dtype("u1"))
S8 = Element("int8", 1, "int8_t", np.dtype("i1"))
INT32 = Element("int32", 4, "int32_t", np.dtype("<i4"))

ELEMENTS = {element.name: element for element in (FLOAT32, FLOAT16, U8, S8, INT32)}
