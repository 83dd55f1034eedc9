"""A compiled detector as a Python callable."""

import ctypes
import json
import threading
from pathlib import Path

import numpy as np

from shufflenet.compiler.c.boxes import BoxDecoder, detect_arena_bytes
from shufflenet.compiler.c.source import Signature

BOX = np.dtype([("box", np.float32, 4), ("score", np.float32), ("label", np.int32)])


class CompiledDetector:
    """Call it with a picture, uint8 (height, width, 3), RGB: what it finds, the surest first, as an array with the fields `box`
    (x1, y1, x2, y2 in pixels of the picture), `score` and `label` (from 1 up: `decoder.class_names`).

    Threads may call one detector at the same time: each has an arena of its own.
    """

    def __init__(self, library: Path, decoder: BoxDecoder) -> None:
        record = json.loads(library.with_suffix(".json").read_text(encoding="utf-8"))
        signature = Signature.from_json(record["signature"])
        self.library = library
        self.decoder = decoder
        self.arena_bytes = detect_arena_bytes(decoder, signature.arena_bytes)
        self.multiply_adds = signature.multiply_adds
        self._detect = ctypes.CDLL(str(library))[f"{signature.name}_detect_rgb8"]
        self._weights = () if signature.embedded else (np.memmap(library.with_suffix(".bin"), np.uint8, mode="r"),)
        self._own = threading.local()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Raises ValueError for what is no picture, or wider than the detector was compiled for."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape) < 1:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; a picture is uint8 (height, width, 3)")
        height, width = pixels.shape[:2]
        if width > self.decoder.max_width:
            raise ValueError(
                f"the picture is {width} wide; the detector was compiled for {self.decoder.max_width} at most"
            )
        if pixels.strides[1:] != (3, 1):
            pixels = np.ascontiguousarray(pixels)
        if not hasattr(self._own, "arena"):
            self._own.arena = np.empty(self.arena_bytes, np.uint8)
        boxes = np.empty(self.decoder.detections_per_picture, BOX)
        found = self._detect(
            *map(_address, self._weights), _address(pixels), height, width, ctypes.c_ssize_t(pixels.strides[0]),
            _address(boxes), len(boxes), _address(self._own.arena),
        )  # fmt: skip
        return boxes[:found]


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__array_interface__["data"][0])
