"""A compiled network as a Python callable."""

import ctypes
import json
import threading
from pathlib import Path

import numpy as np

from shufflenet.compiler.c.source import Signature


def load(library: Path) -> "Network":
    """The network of a library that `build` made; NAME.json beside it says how it is called."""
    record = json.loads(library.with_suffix(".json").read_text(encoding="utf-8"))
    return Network(library, Signature.from_json(record["signature"]))


class Network:
    """A compiled network: call it with an array (channels, height, width), or a batch of them, for each input.

    Arrays are float32, numpy's or torch's; one that is contiguous is read where it is. A batch runs one by one. The result is what
    the ONNX file's output is, without its batch of one; a batch of n comes back as (n, ...). Several outputs come as a tuple.
    Threads may call one network at the same time: each has an arena of its own.
    """

    def __init__(self, library: Path, signature: Signature) -> None:
        self.library = library
        self.signature = signature
        self.arena_bytes = signature.arena_bytes
        self.weights_bytes = signature.weights_bytes
        self.multiply_adds = signature.multiply_adds
        dynamic = ctypes.CDLL(str(library))
        self._run = dynamic[f"{signature.name}_run"]
        self._run_rgb8 = dynamic[f"{signature.name}_run_rgb8"] if signature.takes_pixels else None
        self._run_timed = dynamic[f"{signature.name}_run_timed"] if signature.timed_steps else None
        self._mapped = () if signature.embedded else (np.memmap(library.with_suffix(".bin"), np.uint8, mode="r"),)
        self._weights = tuple(map(_address, self._mapped))
        self._own = threading.local()

    @property
    def source(self) -> str:
        """The C source that was built."""
        return self.library.with_suffix(".c").read_text(encoding="utf-8")

    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Raises ValueError for a wrong number of inputs or a wrong shape."""
        batches = self._batches(inputs)
        count = len(batches[0])
        outputs = [np.empty((count, *shape), np.float32) for shape in self.signature.output_shapes]
        arena = _address(self._arena())
        for i in range(count):
            self._run(*self._weights, *(_address(x[i]) for x in batches), *(_address(y[i]) for y in outputs), arena)
        batched = np.ndim(inputs[0]) > len(self.signature.input_shapes[0]) and count != 1
        results = tuple(outputs if batched else (y[0] for y in outputs))
        return results[0] if len(results) == 1 else results

    def run_rgb8(self, pixels: np.ndarray) -> np.ndarray:
        """The output for one picture: uint8 (height, width, 3), RGB, of the network's size; its rows may lie apart."""
        if self._run_rgb8 is None:
            raise ValueError("the network was compiled without preprocessing; give compile_onnx its `pixels`")
        height, width = self.signature.input_shapes[0][1:]
        if pixels.dtype != np.uint8 or pixels.shape != (height, width, 3) or pixels.strides[1:] != (3, 1):
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; the network takes uint8 {(height, width, 3)}")
        output = np.empty(self.signature.output_shapes[0], np.float32)
        self._run_rgb8(
            *self._weights, _address(pixels), ctypes.c_ssize_t(pixels.strides[0]), _address(output), _address(self._arena()),
        )  # fmt: skip
        return output

    def time_steps(self, *inputs: np.ndarray) -> np.ndarray:
        """Nanoseconds of each step of the plan, in one run on the first of each batch. For a network compiled with `timed`."""
        if self._run_timed is None:
            raise ValueError("the network's steps have no clock; give compile_onnx `timed=True`")
        nanoseconds = np.zeros(self.signature.timed_steps, np.int64)
        outputs = [np.empty(shape, np.float32) for shape in self.signature.output_shapes]
        firsts = (batch[0] for batch in self._batches(inputs))
        self._run_timed(*self._weights, *map(_address, (*firsts, *outputs, self._arena(), nanoseconds)))
        return nanoseconds

    def _batches(self, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """Every input as (n, ...), contiguous."""
        shapes = self.signature.input_shapes
        if len(inputs) != len(shapes):
            raise ValueError(f"{len(inputs)} inputs were given; the network takes {len(shapes)}")
        arrays = [np.ascontiguousarray(x, np.float32) for x in inputs]
        for array, shape in zip(arrays, shapes, strict=True):
            if array.shape[-len(shape) :] != shape or array.ndim - len(shape) not in (0, 1):
                raise ValueError(f"an input has shape {array.shape}; the network takes {shape}, or a batch of them")
        batches = [x.reshape(-1, *shape) for x, shape in zip(arrays, shapes, strict=True)]
        if len({len(batch) for batch in batches}) > 1:
            raise ValueError(
                f"the inputs are batches of {', '.join(str(len(batch)) for batch in batches)}; give them one size"
            )
        return batches

    def _arena(self) -> np.ndarray:
        if not hasattr(self._own, "arena"):
            self._own.arena = np.empty(self.arena_bytes, np.uint8)
        return self._own.arena


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__array_interface__["data"][0])  # array.ctypes takes a microsecond longer
