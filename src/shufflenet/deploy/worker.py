"""A process that runs one file in one runtime: its memory is that runtime's alone, and its chatter stays out of the terminal."""

import importlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime
from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.errors import UserError

WARM_UP = 5
BATCH_SIZE = 8


def peak_memory_bytes() -> int:
    """The most memory this process has had resident so far, or since `forget_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # no Linux; there ru_maxrss would count what the parent process had before it started this one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak() -> int:
    """Let the peak begin anew at what is resident now, and return that. Only Linux can; elsewhere the old peak stays."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_bytes()


def serve(connection: Connection, name: str, path: Path, threads: int) -> None:
    """Receive inputs and answer with their outputs; then, for every number received, with so many times of the first input, in ms."""
    if hasattr(os, "sched_setaffinity"):  # some runtimes start a thread a processor whatever they are told
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    try:
        runtime = RUNTIMES[name]
        for module in runtime.runs:
            importlib.import_module(module)
        inputs = connection.recv()
        imports = peak_memory_bytes()  # importing may have needed more than what stays: the network would fit in unseen
        resident = forget_peak()
        run = runtime.load(path, threads)
        for _ in range(WARM_UP):
            run(inputs[:1])
        peak = peak_memory_bytes()
        outputs = [run(inputs[i : i + BATCH_SIZE]) for i in range(0, len(inputs), BATCH_SIZE)]
        connection.send((np.concatenate(outputs), max(imports, peak), peak - resident))
        while runs := connection.recv():
            connection.send([_time_ms(run, inputs[:1]) for _ in range(runs)])
    except EOFError:  # the other end is done
        pass
    except (Exception, SystemExit) as error:
        connection.send(f"{type(error).__name__}: {error}")


def _time_ms(run: Classify, picture: np.ndarray) -> float:
    start = time.perf_counter_ns()
    run(picture)
    return (time.perf_counter_ns() - start) / 1e6


@dataclass(frozen=True)
class Worker:
    """A process with a loaded network. `peak_memory_bytes` is all of it, `network_memory_bytes` what loading and running added."""

    connection: Connection
    title: str
    log: Path
    outputs: np.ndarray
    peak_memory_bytes: int
    network_memory_bytes: int

    def times_ms(self, runs: int) -> list[float]:
        """How long each of `runs` runs on one picture takes."""
        self.connection.send(runs)
        return _receive(self.connection, self.title, self.log)


def _receive(connection: Connection, title: str, log: Path) -> Any:
    try:
        answer = connection.recv()
    except (EOFError, ConnectionResetError):
        words = log.read_text(errors="replace").strip().splitlines()
        raise UserError(f"{title} crashed; its last words were {words[-1] if words else 'none'!r}") from None
    if isinstance(answer, str):
        raise UserError(f"{title} failed: {answer}")
    return answer


@contextmanager
def start(runtime: Runtime, path: Path, inputs: np.ndarray, threads: int = 1) -> Iterator[Worker]:
    """A worker for a file of `runtime`, ended with the context. Raises UserError with the reason if it cannot run `inputs`."""
    ours, theirs = Pipe()
    with NamedTemporaryFile() as file:
        end = theirs.fileno()
        command = [sys.executable, "-m", "shufflenet.deploy.worker", str(end), runtime.name, str(path), str(threads)]
        process = subprocess.Popen(command, pass_fds=[end], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        theirs.close()
        try:
            log = Path(file.name)
            ours.send(inputs)
            yield Worker(ours, runtime.title, log, *_receive(ours, runtime.title, log))
        finally:
            ours.close()
            process.terminate()
            process.wait()


if __name__ == "__main__":
    end, name, path, threads = sys.argv[1:]
    serve(Connection(int(end)), name, Path(path), int(threads))
