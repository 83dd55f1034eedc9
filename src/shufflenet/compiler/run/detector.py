"""A compiled detector as a Python callable."""

import ctypes
import json
import threading
from pathlib import Path

import numpy as np

from shufflenet.compiler.c.boxes import BoxDecoder, detect_arena_bytes
from shufflenet.compiler.c.source import Signature
from shufflenet.compiler.run.addresses import address_of

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
        self._mapped = () if signature.embedded else (np.memmap(library.with_suffix(".bin"), np.uint8, mode="r"),)
        self._weights = tuple(map(address_of, self._mapped))
        pointer, number = ctypes.c_void_p, ctypes.c_int
        picture = (pointer, number, number, ctypes.c_ssize_t)
        self._detect.argtypes = (*(pointer for _ in self._weights), *picture, pointer, number, pointer)
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
        own = self._own
        if not hasattr(own, "arena"):
            own.arena = np.empty(self.arena_bytes, np.uint8)
            own.boxes = np.empty(self.decoder.detections_per_picture, BOX)
            # numpy takes long to say an address.
            own.addresses = address_of(own.boxes), len(own.boxes), address_of(own.arena)
        found = self._detect(*self._weights, address_of(pixels), height, width, pixels.strides[0], *own.addresses)
        return own.boxes[:found].copy()
