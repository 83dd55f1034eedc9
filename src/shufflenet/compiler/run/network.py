"""A compiled network as a Python callable."""

import ctypes
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shufflenet.compiler.c.source import Signature
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Batch
from shufflenet.compiler.run.addresses import address_of
from shufflenet.compiler.run.threads import MOST_ARGUMENTS, MOST_THREADS, Threads


def load(library: Path, threads: int = 1) -> "CompiledNetwork":
    """The network of a library that `build` made, run on so many threads; NAME.json beside it says how it is called."""
    record = json.loads(library.with_suffix(".json").read_text(encoding="utf-8"))
    return CompiledNetwork(library, Signature.from_json(record["signature"]), threads)


class CompiledNetwork:
    """A compiled network: call it with an array (channels, height, width), or a batch of them, for each input.

    Arrays are float32, numpy's or torch's; one that is contiguous is read where it is. A batch runs one by one. The result is what
    the ONNX file's output is for that batch; one picture's comes without its batch of one. Where the file is for one picture only,
    the results of n come as (n, ...). Several outputs come as a tuple.
    Threads may call one network at the same time: each has an arena of its own.

    With `threads`, one picture is shared out to that many, and the pictures of a batch are dealt to them; the numbers are the same to the
    bit. Who calls while they work for another caller gets his result from his own thread alone. Raises CompileError for a number of
    threads that cannot be.
    """

    def __init__(self, library: Path, signature: Signature, threads: int = 1) -> None:
        if not 1 <= threads <= MOST_THREADS:
            raise CompileError(f"{threads} threads are out of range; choose 1 to {MOST_THREADS}.")
        for output in signature.outputs:
            if math.prod(output.shape) != output.floats:
                raise CompileError(
                    f"{library} writes {output.floats} numbers where {output.shape} were expected; build it again."
                )
        self.library = library
        self.signature = signature
        self.threads = threads
        self.arena_bytes = signature.arena_bytes + (threads - 1) * signature.worker_bytes
        self.weights_bytes = signature.weights_bytes
        self.multiply_adds = signature.multiply_adds
        dynamic = ctypes.CDLL(str(library))
        self._run = _run(dynamic, signature, "run")
        self._run_pixels = _run_pixels(dynamic, signature)
        self._run_timed = _run(dynamic, signature, "run_timed", more=1) if signature.timed_steps else None
        self._mapped = () if signature.embedded else (np.memmap(library.with_suffix(".bin"), np.uint8, mode="r"),)
        self._weights = tuple(map(address_of, self._mapped))
        self._picture_bytes = [4 * math.prod(shape) for shape in signature.input_shapes]
        self._picture_bytes += [4 * output.floats for output in signature.outputs]
        self._own = threading.local()
        self._team = _Team(dynamic, signature, threads) if threads > 1 else None

    @property
    def source(self) -> str:
        """The C source that was built."""
        return self.library.with_suffix(".c").read_text(encoding="utf-8")

    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Raises ValueError for a wrong number of inputs or a wrong shape."""
        arrays, count = self._batches(inputs)
        outputs = self._outputs(count)
        arrays += outputs
        addresses = [address_of(array) for array in arrays]
        if self._team is None or not self._team.run(self._weights, addresses, self._picture_bytes, count):
            arena = self._arena()
            for i in range(count):
                pictures = (start + i * size for start, size in zip(addresses, self._picture_bytes, strict=True))
                self._run(*self._weights, *pictures, arena)
        return self._results(outputs)

    def _outputs(self, count: int) -> list[np.ndarray]:
        """Room for every output of `count` pictures: (count, *shape)."""
        if count > 1 and any(output.batch == "mixed" for output in self.signature.outputs):
            raise ValueError(f"the network does not keep {count} pictures apart; give it one at a time")
        return [np.empty((count, *output.shape), np.float32) for output in self.signature.outputs]

    def _results(self, outputs: list[np.ndarray]) -> np.ndarray | tuple[np.ndarray, ...]:
        results = [_put_together(y, output.batch) for y, output in zip(outputs, self.signature.outputs, strict=True)]
        return results[0] if len(results) == 1 else tuple(results)

    def run_rgb8(self, pixels: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The output for one picture: uint8 (height, width, 3), RGB, of the network's size; its rows may lie apart."""
        return self._of_pixels(pixels, 3)

    def run_gray8(self, pixels: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The output for one grey picture: uint8 (height, width), of the network's size; its rows may lie apart."""
        return self._of_pixels(pixels[..., None], 1)

    def _of_pixels(self, pixels: np.ndarray, channels: int) -> np.ndarray | tuple[np.ndarray, ...]:
        """`pixels`: (height, width, channels)."""
        if self._run_pixels is None:
            raise ValueError("the network was compiled without preprocessing; give compile_onnx its `pixels`")
        expected, height, width = self.signature.input_shapes[0]
        shape = (height, width, expected)
        close = pixels.strides[1] == channels and (channels == 1 or pixels.strides[2] == 1)
        if expected != channels or pixels.dtype != np.uint8 or pixels.shape != shape or not close:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; the network takes uint8 {shape}")
        outputs = self._outputs(1)
        arguments = (*self._weights, address_of(pixels), pixels.strides[0], *map(address_of, outputs))
        if self._team is None or not self._team.run_pixels(arguments):
            self._run_pixels(*arguments, self._arena())
        return self._results(outputs)

    def time_steps(self, *inputs: np.ndarray) -> np.ndarray:
        """Nanoseconds of each step of the plan, in one run on the first of each batch. For a network compiled with `timed`."""
        if self._run_timed is None:
            raise ValueError("the network's steps have no clock; give compile_onnx `timed=True`")
        nanoseconds = np.zeros(self.signature.timed_steps, np.int64)
        arrays, _ = self._batches(inputs)
        # Addresses keep nothing alive: this list does.
        arrays += self._outputs(1)
        self._run_timed(*self._weights, *map(address_of, arrays), self._arena(), address_of(nanoseconds))
        return nanoseconds

    def _batches(self, inputs: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], int]:
        """Every input, contiguous, and how many pictures each has."""
        shapes = self.signature.input_shapes
        if len(inputs) != len(shapes):
            raise ValueError(f"{len(inputs)} inputs were given; the network takes {len(shapes)}")
        arrays = [np.ascontiguousarray(x, np.float32) for x in inputs]
        counts = []
        for array, shape in zip(arrays, shapes, strict=True):
            if array.shape == shape:
                counts.append(1)
            elif array.shape[1:] == shape:
                counts.append(len(array))
            else:
                raise ValueError(f"an input has shape {array.shape}; the network takes {shape}, or a batch of them")
        if len(set(counts)) > 1:
            raise ValueError(f"the inputs are batches of {', '.join(map(str, counts))}; give them one size")
        return arrays, counts[0]

    def _arena(self) -> int:
        """The address of this thread's arena."""
        own = self._own
        if not hasattr(own, "address"):
            own.arena = np.empty(self.signature.arena_bytes, np.uint8)
            own.address = address_of(own.arena)
        return own.address


class _Team:
    """Threads that run a network together, for one caller at a time."""

    def __init__(self, library: ctypes.CDLL, signature: Signature, threads: int) -> None:
        name = signature.name
        self._run = ctypes.cast(library[f"{name}_run"], ctypes.c_void_p)
        self._run_on = _run(library, signature, "run_on", more=2)
        self._run_pixels_on = _run_pixels(library, signature, "_on", more=2)
        # An arena for each of them, where each has a picture of its own; one that all share needs less.
        self._own_bytes = signature.arena_bytes + -signature.arena_bytes % 64
        self._arenas = np.empty(threads * max(self._own_bytes, signature.worker_bytes), np.uint8)
        self._count = threads
        self._gather()

    def _gather(self) -> None:
        self._process, self._busy, self._threads = os.getpid(), threading.Lock(), Threads(self._count)

    @contextmanager
    def _free(self) -> Iterator[bool]:
        """Whether no other caller has them; they are this one's then, to the end of the context."""
        if self._process != os.getpid():  # forked off, without the threads
            self._gather()
        mine = self._busy.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                self._busy.release()

    def run(self, weights: tuple[int, ...], arrays: list[int], picture_bytes: list[int], count: int) -> bool:
        """`count` pictures at the addresses of inputs and outputs; False if the threads are another caller's."""
        with self._free() as mine:
            if mine:
                self._deal(weights, arrays, picture_bytes, count)
        return mine

    def _deal(self, weights: tuple[int, ...], arrays: list[int], picture_bytes: list[int], count: int) -> None:
        """Whole pictures as long as there is one for each thread, the rest one by one by all."""
        dealt = count - count % self._threads.workers
        if len(weights) + len(arrays) + 1 > MOST_ARGUMENTS:
            dealt = 0
        arenas = address_of(self._arenas)
        if dealt:
            pictures = zip(arrays, picture_bytes, strict=True)
            self._threads.deal(self._run, [*((w, 0) for w in weights), *pictures, (arenas, self._own_bytes)], dealt)
        for i in range(dealt, count):
            picture = (start + i * size for start, size in zip(arrays, picture_bytes, strict=True))
            self._run_on(*weights, *picture, arenas, *self._threads.parallel_for)

    def run_pixels(self, arguments: tuple[int, ...]) -> bool:
        """NAME_run_rgb8_on or NAME_run_gray8_on with these arguments; False if the threads are another caller's."""
        assert self._run_pixels_on
        with self._free() as mine:
            if mine:
                self._run_pixels_on(*arguments, address_of(self._arenas), *self._threads.parallel_for)
        return mine


def _run(library: ctypes.CDLL, signature: Signature, kind: str, more: int = 0) -> Callable[..., None]:
    """NAME_run or one of its kind, which takes as many pointers, and `more`, as plain numbers."""
    arrays = len(signature.input_shapes) + len(signature.outputs)
    return _function(
        library, f"{signature.name}_{kind}", [ctypes.c_void_p] * ((not signature.embedded) + arrays + 1 + more)
    )


def _run_pixels(
    library: ctypes.CDLL, signature: Signature, kind: str = "", more: int = 0
) -> Callable[..., None] | None:
    """The same from 8-bit pixels, whose rows are so many bytes apart; None if there is no such function."""
    if not signature.takes_pixels:
        return None
    before, after = (not signature.embedded) + 1, len(signature.outputs) + 1 + more
    types = [*[ctypes.c_void_p] * before, ctypes.c_ssize_t, *[ctypes.c_void_p] * after]
    return _function(library, f"{signature.name}_{signature.run_pixels}{kind}", types)


def _function(library: ctypes.CDLL, name: str, types: list[Any]) -> Callable[..., None]:
    function = library[name]
    function.argtypes, function.restype = types, None
    return function


def _put_together(results: np.ndarray, batch: Batch) -> np.ndarray:
    """(pictures, *shape) → the results along the axis `batch`; of one picture without that axis, if it is of one."""
    if len(results) == 1:
        one = results.reshape(results.shape[1:])
        return one.squeeze(batch) if isinstance(batch, int) and one.shape[batch] == 1 else one
    return np.concatenate(results, axis=batch) if isinstance(batch, int) else results
