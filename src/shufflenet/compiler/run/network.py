"""A compiled network as a Python callable."""

import ctypes
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shufflenet.compiler.c.source import Signature
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Batch
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
        self._run = dynamic[f"{signature.name}_run"]
        self._run_pixels = dynamic[f"{signature.name}_{signature.run_pixels}"] if signature.takes_pixels else None
        self._run_timed = dynamic[f"{signature.name}_run_timed"] if signature.timed_steps else None
        self._mapped = () if signature.embedded else (np.memmap(library.with_suffix(".bin"), np.uint8, mode="r"),)
        self._weights = tuple(map(_address, self._mapped))
        self._own = threading.local()
        self._team = _Team(dynamic, signature, threads) if threads > 1 else None

    @property
    def source(self) -> str:
        """The C source that was built."""
        return self.library.with_suffix(".c").read_text(encoding="utf-8")

    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Raises ValueError for a wrong number of inputs or a wrong shape."""
        batches = self._batches(inputs)
        count = len(batches[0])
        outputs = self._outputs(count)
        arrays = (*batches, *outputs)
        if self._team is None or not self._team.run(self._weights, arrays):
            arena = _address(self._arena())
            for i in range(count):
                # Slices, since an element of a vector is no part of it but a copy.
                self._run(*self._weights, *(_address(array[i : i + 1]) for array in arrays), arena)
        results = tuple(
            _put_together(y, output.batch) for y, output in zip(outputs, self.signature.outputs, strict=True)
        )
        return results[0] if len(results) == 1 else results

    def _outputs(self, count: int) -> list[np.ndarray]:
        """Room for every output of `count` pictures: (count, *shape)."""
        if count > 1 and any(output.batch == "mixed" for output in self.signature.outputs):
            raise ValueError(f"the network does not keep {count} pictures apart; give it one at a time")
        return [np.empty((count, *output.shape), np.float32) for output in self.signature.outputs]

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
        arguments = (
            *self._weights, _address(pixels), ctypes.c_ssize_t(pixels.strides[0]), *map(_address, outputs),
        )  # fmt: skip
        if self._team is None or not self._team.run_pixels(arguments):
            self._run_pixels(*arguments, _address(self._arena()))
        results = tuple(
            _put_together(y, output.batch) for y, output in zip(outputs, self.signature.outputs, strict=True)
        )
        return results[0] if len(results) == 1 else results

    def time_steps(self, *inputs: np.ndarray) -> np.ndarray:
        """Nanoseconds of each step of the plan, in one run on the first of each batch. For a network compiled with `timed`."""
        if self._run_timed is None:
            raise ValueError("the network's steps have no clock; give compile_onnx `timed=True`")
        nanoseconds = np.zeros(self.signature.timed_steps, np.int64)
        outputs = self._outputs(1)
        firsts = (batch[:1] for batch in self._batches(inputs))
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
            self._own.arena = np.empty(self.signature.arena_bytes, np.uint8)
        return self._own.arena


class _Team:
    """Threads that run a network together, for one caller at a time."""

    def __init__(self, library: ctypes.CDLL, signature: Signature, threads: int) -> None:
        name = signature.name
        self._run = ctypes.cast(library[f"{name}_run"], ctypes.c_void_p)
        self._run_on = library[f"{name}_run_on"]
        self._run_pixels_on = library[f"{name}_{signature.run_pixels}_on"] if signature.takes_pixels else None
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

    def run(self, weights: tuple[ctypes.c_void_p, ...], arrays: tuple[np.ndarray, ...]) -> bool:
        """Inputs (count, ...) → outputs (count, ...); False if the threads are another caller's."""
        with self._free() as mine:
            if mine:
                self._deal(weights, arrays)
        return mine

    def _deal(self, weights: tuple[ctypes.c_void_p, ...], arrays: tuple[np.ndarray, ...]) -> None:
        """Whole pictures as long as there is one for each thread, the rest one by one by all."""
        count = len(arrays[0])
        dealt = count - count % self._threads.workers
        if len(weights) + len(arrays) + 1 > MOST_ARGUMENTS:
            dealt = 0
        if dealt:
            pictures = [(_address(array).value, array[0].nbytes) for array in arrays]
            arguments = [*((w.value, 0) for w in weights), *pictures, (_address(self._arenas).value, self._own_bytes)]
            self._threads.deal(self._run, arguments, dealt)
        for i in range(dealt, count):
            picture = (_address(array[i : i + 1]) for array in arrays)
            self._run_on(*weights, *picture, _address(self._arenas), *self._threads.parallel_for)

    def run_pixels(self, arguments: tuple[ctypes.c_void_p | ctypes.c_ssize_t, ...]) -> bool:
        """NAME_run_rgb8_on or NAME_run_gray8_on with these arguments; False if the threads are another caller's."""
        assert self._run_pixels_on
        with self._free() as mine:
            if mine:
                self._run_pixels_on(*arguments, _address(self._arenas), *self._threads.parallel_for)
        return mine


def _put_together(results: np.ndarray, batch: Batch) -> np.ndarray:
    """(pictures, *shape) → the results along the axis `batch`; of one picture without that axis, if it is of one."""
    if len(results) == 1:
        one = results.reshape(results.shape[1:])
        return one.squeeze(batch) if isinstance(batch, int) and one.shape[batch] == 1 else one
    return np.concatenate(results, axis=batch) if isinstance(batch, int) else results


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__array_interface__["data"][0])  # array.ctypes takes a microsecond longer
