"""Runtimes side by side: the same network, the same picture, in interleaved rounds, each runtime in a process of its own."""

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from shufflenet import __version__
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.compiler.graph.elements import NumberType
from shufflenet.data import open_dataset, prepare
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import Parity, compare, sample_inputs
from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.deploy.worker import Worker, start
from shufflenet.errors import UserError
from shufflenet.nets import Network, Size, cost, height_width
from shufflenet.nets.quantized import QuantizedNetwork

PARITY_PICTURES = 8
# Of one runtime: a fast one runs RUNS_PER_ROUND times in it, a slow one once.
LONGEST_ROUND_MS = 100.0
RUNS_PER_ROUND = 10
TEST_BATCH_SIZE = 64


@dataclass(frozen=True)
class RuntimeFigures:
    """One runtime's figures. Times are wall-clock, of one picture; the spread is that of the middle 80% of the runs.

    `element` is what weights and activations are: "float32", "float16", or "int8" in a quantized network. `top1_error`, in %, is
    that on the test pictures, if there are any.
    """

    runtime: str
    title: str
    version: str
    variant: str
    element: str
    size: tuple[int, int]
    median_ms: float
    p10_ms: float
    p90_ms: float
    minimum_ms: float
    runs: int
    peak_memory_bytes: int
    network_memory_bytes: int
    file_bytes: int
    parity: Parity
    top1_error: float | None


@dataclass(frozen=True)
class Absent:
    """A runtime that was asked for and could not be measured, and why."""

    runtime: str
    reason: str


@dataclass(frozen=True)
class Bench:
    """One network in several runtimes, the fastest first. `multiply_adds` is the network's at `size`.

    Of a quantized network there are two rows a runtime: its integers, and the float32 network of the same weights.
    """

    variant: str
    size: tuple[int, int]
    threads: int
    multiply_adds: int
    rounds: int
    test_pictures: int
    rows: tuple[RuntimeFigures, ...]
    absent: tuple[Absent, ...]

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        height, width = self.size
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        title = f"{self.variant}, {height}×{width}, {self.multiply_adds / 1e6:.1f}M multiply-adds, {threads}"
        elements = {row.element for row in self.rows}
        return f"{title}, {elements.pop()}" if len(elements) == 1 else title

    def label(self, row: RuntimeFigures) -> str:
        """What a row is called: its runtime and version, or where there are several elements that."""
        mixed = any(row.element != "float32" for row in self.rows)
        return f"{row.title}, {row.element}" if mixed else f"{row.title} {row.version}"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; docs/bench.schema.json describes it."""
        return {**provenance(), **asdict(self)}


@dataclass(frozen=True, eq=False)
class Tested:
    """Pictures that every runtime classifies: inputs [pictures, channels, height, width], labels [pictures]."""

    inputs: np.ndarray
    labels: np.ndarray

    def top1_error(self, outputs: np.ndarray) -> float:
        """In %, of outputs [pictures, classes]."""
        return 100 * float((outputs.argmax(axis=1) != self.labels).mean())


@dataclass(frozen=True, eq=False)
class _Contestant:
    runtime: Runtime
    element: str
    worker: Worker
    file_bytes: int
    reference: np.ndarray


def three_digits(value: float) -> str:
    """A time or a ratio as a table shows it."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def provenance() -> dict[str, str]:
    """What a record of measurements begins with."""
    return {"shufflenet": __version__, "date": date.today().isoformat(), "host": host()}


def host() -> str:
    """This machine in a few words: processor, cores, system."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = models[0] if models else processor
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def test_pictures(net: Network, data: str | Path, size: tuple[int, int], count: int) -> Tested:
    """Up to `count` pictures of a data set's test part, of every class in turn, as `net` takes them at `size`."""
    metadata = metadata_of(net)
    dataset = open_dataset(data, "test", classes=metadata.classes)
    preprocessing = metadata.preprocessing
    if size != preprocessing.size:
        preprocessing = replace(preprocessing, size=size, short_side=None)
    chosen = Subset(prepare(dataset, preprocessing), dataset.order(0, 0)[:count].tolist())
    images, labels = zip(*DataLoader(chosen, TEST_BATCH_SIZE), strict=True)
    return Tested(torch.cat(images).numpy(), torch.cat(labels).numpy())


def select(names: str) -> list[Runtime]:
    """ "all" or names with commas between them → runtimes. Raises UserError for an unknown name."""
    if names == "all":
        return list(RUNTIMES.values())
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in RUNTIMES:
            raise UserError(f"there is no runtime {name!r}; choose among {', '.join(RUNTIMES)}, or all")
    return [RUNTIMES[name] for name in wanted]


def bench(
    net: Network,
    runtimes: Sequence[Runtime],
    *,
    size: Size,
    threads: int = 1,
    rounds: int = 20,
    element: NumberType = "float32",
    tested: Tested | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure `net` on one picture of `size`, a square where it is one number.

    A runtime that is missing or fails is in `absent`, with the reason. All runtimes are loaded and warm before the first round. In
    a round each has its turn, so a slow minute of the machine affects all of them. With the `element` float16, runtimes that
    compute in half precision do that, too. With `tested`, each classifies these pictures too.
    """
    size = height_width(size)
    absent: list[Absent] = []
    with TemporaryDirectory() as scratch, ExitStack() as workers:
        ready: list[_Contestant] = []
        for kind, form in _forms(net, element).items():
            source = Exportable(form, size)
            inputs = sample_inputs(source, PARITY_PICTURES)
            reference = _logits(form, inputs)
            if tested:
                inputs = np.concatenate([inputs, tested.inputs])
            for runtime in runtimes:
                progress(f"{runtime.title}, {kind}: preparing")
                try:
                    writes = {"float32": runtime.write, "float16": runtime.write_halves, "int8": runtime.write_integers}
                    write = writes[kind]
                    if write is None:
                        raise UserError(f"{runtime.title} gets no {kind} network from here")
                    if missing := runtime.missing():
                        raise UserError(missing)
                    folder = Path(scratch) / kind / runtime.name
                    folder.mkdir(parents=True)
                    files = write(source, folder)
                    worker = workers.enter_context(start(runtime, files[0], inputs, threads))
                    file_bytes = sum(path.stat().st_size for path in files)
                    ready.append(_Contestant(runtime, kind, worker, file_bytes, reference))
                # Whatever a converter or a runtime may raise: the others are measured all the same.
                except Exception as error:
                    absent.append(Absent(runtime.name, str(error)))
        times = _interleaved([contestant.worker for contestant in ready], rounds, progress)
        rows = [_row(net, size, *measured, tested) for measured in zip(ready, times, strict=True)]
    return Bench(
        variant=net.spec["name"],
        size=size,
        threads=threads,
        multiply_adds=cost(net, size).multiply_adds,
        rounds=rounds,
        test_pictures=len(tested.labels) if tested else 0,
        rows=tuple(sorted(rows, key=lambda row: row.median_ms)),
        absent=tuple(absent),
    )


def _logits(net: Network, inputs: np.ndarray) -> np.ndarray:
    """torch's, of integers those of codes.py: the compiled C gives the same bytes."""
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(inputs)).numpy()


def _forms(net: Network, element: NumberType) -> dict[str, Network]:
    """By element: the network, and beside integers or halves the float32 network of the same weights."""
    if element == "float16":
        if isinstance(net, QuantizedNetwork):
            raise UserError("the network is quantized, with weights of 8 bits; float16 is for networks of float32")
        return {"float16": net, "float32": net}
    if isinstance(net, QuantizedNetwork):
        return {"int8": net.integers(), "float32": net.dequantized()}
    return {"float32": net}


def _interleaved(workers: Sequence[Worker], rounds: int, progress: Callable[[str], None]) -> list[list[float]]:
    first = [worker.times_ms(1)[0] for worker in workers]
    runs = [max(1, min(RUNS_PER_ROUND, round(LONGEST_ROUND_MS / ms))) for ms in first]
    times: list[list[float]] = [[] for _ in workers]
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for worker, count, ms in zip(workers, runs, times, strict=True):
            ms += worker.times_ms(count)
    return times


def _row(
    net: Network, size: tuple[int, int], contestant: _Contestant, ms: list[float], tested: Tested | None
) -> RuntimeFigures:
    p10, median, p90 = np.percentile(ms, (10, 50, 90)).tolist()
    runtime, worker = contestant.runtime, contestant.worker
    outputs = worker.outputs[:PARITY_PICTURES]
    return RuntimeFigures(
        runtime=runtime.name,
        title=runtime.title,
        version=runtime.version,
        variant=net.spec["name"],
        element=contestant.element,
        size=size,
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        minimum_ms=min(ms),
        runs=len(ms),
        peak_memory_bytes=worker.peak_memory_bytes,
        network_memory_bytes=worker.network_memory_bytes,
        file_bytes=contestant.file_bytes,
        parity=compare(outputs, contestant.reference),
        top1_error=tested.top1_error(worker.outputs[PARITY_PICTURES:]) if tested else None,
    )
