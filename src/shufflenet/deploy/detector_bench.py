"""A detector in several engines side by side: the whole call, from the 8-bit pixels of a picture to its boxes, in interleaved rounds."""

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from shufflenet.compiler.run.detector import CompiledDetector
from shufflenet.deploy.bench import Absent, provenance
from shufflenet.detection import Detector, export_onnx
from shufflenet.detection.cost import detector_cost
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.errors import UserError

Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]  # corners [n, 4] in pixels of the picture, labels [n], scores [n]
Find = Callable[[np.ndarray], Boxes]  # a picture, uint8 [h, w, 3]

WARM_UP = 3
LONGEST_ROUND_MS = 100.0  # of one engine; a fast one runs RUNS_PER_ROUND times in it, a slow one once
RUNS_PER_ROUND = 10
MATCHED_PIXELS, MATCHED_SCORE = 0.5, 1e-3


@dataclass(frozen=True)
class EngineFigures:
    """One engine's figures for one picture. `matched` is the share of torch's boxes that it finds too, within half a pixel."""

    engine: str
    title: str
    version: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    minimum_ms: float
    runs: int
    boxes: int
    matched: float


@dataclass(frozen=True)
class DetectorBench:
    """One detector in several engines, the fastest first. `picture` is its height and width before it is resized."""

    variant: str
    layout: str
    picture: tuple[int, int]
    multiply_adds: int
    threads: int
    rounds: int
    rows: tuple[EngineFigures, ...]
    absent: tuple[Absent, ...]

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        height, width = self.picture
        return (
            f"{self.variant}, {self.layout}, a picture of {height}×{width}, {self.multiply_adds / 1e6:.1f}M multiply-adds, "
            f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        )

    def to_json(self) -> dict[str, Any]:
        return {**provenance(), **asdict(self)}


def as_floats(pixels: np.ndarray) -> np.ndarray:
    """What torch and the exported graph take: float32 [3, h, w] from 0 to 1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


def _compiled(detector: Detector, folder: Path, threads: int) -> Find:
    from shufflenet.deploy.detector import compile_detector

    if threads != 1:
        raise UserError("a compiled detector runs on one thread; leave --threads out, or leave this engine out")
    one_size = isinstance(detector, OneStageDetector)
    made: dict[tuple[int, int] | None, CompiledDetector] = {}

    def find(pixels: np.ndarray) -> Boxes:
        # A Faster R-CNN is compiled for pictures of one size.
        size = None if one_size else (pixels.shape[0], pixels.shape[1])
        if size not in made:
            made[size] = compile_detector(detector, size)
        found = made[size](pixels)
        return found["box"], found["label"], found["score"]

    return find


def _onnx_runtime(detector: Detector, folder: Path, threads: int) -> Find:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_graph(detector, folder), options, providers=["CPUExecutionProvider"])
    return lambda pixels: _three(session.run(None, {"picture": as_floats(pixels)}))


def _openvino(detector: Detector, folder: Path, threads: int) -> Find:
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core, graph, requests = openvino.Core(), _graph(detector, folder), {}

    def find(pixels: np.ndarray) -> Boxes:
        shape = (3, *pixels.shape[:2])
        # With a fixed shape OpenVINO fuses more than with an open one.
        if shape not in requests:
            model = core.read_model(graph)
            model.reshape(list(shape))
            requests[shape] = core.compile_model(model, "CPU", config).create_infer_request()
        found = requests[shape].infer([as_floats(pixels)], share_inputs=True)
        return _three([found[index].copy() for index in range(3)])

    return find


def _torch(detector: Detector, folder: Path, threads: int) -> Find:
    detector.eval()

    def find(pixels: np.ndarray) -> Boxes:
        with torch.inference_mode():
            (found,) = detector([torch.from_numpy(as_floats(pixels))])
        return found["boxes"].numpy(), found["labels"].numpy(), found["scores"].numpy()

    return find


def _graph(detector: Detector, folder: Path) -> Path:
    """The exported graph, non-maximum suppression in it, which runtimes share."""
    path = folder / "detector.onnx"
    return path if path.exists() else export_onnx(detector, path)


def _three(values: Sequence[Any]) -> Boxes:
    boxes, labels, scores = map(np.asarray, values)
    return boxes, labels, scores


@dataclass(frozen=True)
class Engine:
    """`needs` is the module it runs on, `package` the distribution that has it."""

    title: str
    needs: str
    package: str
    extra: str
    load: Callable[[Detector, Path, int], Find]


ENGINES: Mapping[str, Engine] = {
    "compiled": Engine("compiled C", "onnx", "shufflenet", "compile", _compiled),
    "onnx": Engine("ONNX Runtime", "onnxruntime", "onnxruntime", "onnx", _onnx_runtime),
    "openvino": Engine("OpenVINO", "openvino", "openvino", "openvino", _openvino),
    "torch": Engine("PyTorch", "torch", "torch", "detection", _torch),
}


def bench_detector(
    detector: Detector,
    pixels: np.ndarray,
    engines: Sequence[str] = tuple(ENGINES),
    *,
    threads: int = 1,
    rounds: int = 20,
    progress: Callable[[str], None] = lambda _: None,
) -> DetectorBench:
    """Measure `detector` on a picture, uint8 [h, w, 3]: resizing, normalizing, network and boxes, each engine in turn.

    ONNX Runtime and OpenVINO run the graph that `detect export` writes, and are given its float32 pixels within the time. An engine
    that is missing or fails is in `absent`, with the reason. Raises UserError for an engine that is none.
    """
    for name in engines:
        if name not in ENGINES:
            raise UserError(f"there is no engine {name!r}; choose among {', '.join(ENGINES)}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    reference = _torch(detector, Path(), threads)(pixels)
    absent, ready = [], {}
    try:
        with TemporaryDirectory() as folder:
            for name in engines:
                progress(f"{ENGINES[name].title}: preparing")
                try:
                    ready[name] = _prepared(name, detector, Path(folder), threads, pixels)
                except Exception as error:  # whatever a runtime may raise: the others are measured all the same
                    absent.append(Absent(name, str(error).strip().splitlines()[0]))
            times = _interleaved({name: find for name, (find, _) in ready.items()}, pixels, rounds, progress)
    finally:
        torch.set_num_threads(before)
    rows = [_figures(name, times[name], boxes, reference) for name, (_, boxes) in ready.items()]
    return DetectorBench(
        variant=detector.config.backbone["name"],
        layout=detector.config.layout,
        picture=(pixels.shape[0], pixels.shape[1]),
        multiply_adds=detector_cost(detector, (pixels.shape[0], pixels.shape[1])).multiply_adds,
        threads=threads,
        rounds=rounds,
        rows=tuple(sorted(rows, key=lambda row: row.median_ms)),
        absent=tuple(absent),
    )


def _prepared(name: str, detector: Detector, folder: Path, threads: int, pixels: np.ndarray) -> tuple[Find, Boxes]:
    """An engine, warm, and what it finds."""
    engine = ENGINES[name]
    if importlib.util.find_spec(engine.needs) is None:
        raise UserError(f"{engine.title} needs {engine.needs}: pip install 'shufflenet[{engine.extra}]'")
    find = engine.load(detector, folder, threads)
    for _ in range(WARM_UP):
        find(pixels)
    return find, find(pixels)


def _interleaved(
    engines: Mapping[str, Find], pixels: np.ndarray, rounds: int, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    runs = {}
    for name, find in engines.items():
        runs[name] = max(1, min(RUNS_PER_ROUND, round(LONGEST_ROUND_MS / _time_ms(find, pixels))))
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name, find in engines.items():
            times[name] += [_time_ms(find, pixels) for _ in range(runs[name])]
    return times


def _time_ms(find: Find, pixels: np.ndarray) -> float:
    start = time.perf_counter()
    find(pixels)
    return (time.perf_counter() - start) * 1e3


def matched(boxes: Boxes, reference: Boxes) -> float:
    """The share of the reference's boxes that are among `boxes`, of their class, within 0.5 pixels and 0.001 of score."""
    corners, labels, scores = boxes
    if not len(reference[0]):
        return float(not len(corners))
    found = [
        bool(
            (
                (np.abs(corners - box).max(1, initial=0) <= MATCHED_PIXELS)
                & (labels == label)
                & (np.abs(scores - score) <= MATCHED_SCORE)
            ).any()
        )
        for box, label, score in zip(*reference, strict=True)
    ]
    return sum(found) / len(found)


def _figures(name: str, ms: list[float], boxes: Boxes, reference: Boxes) -> EngineFigures:
    p10, median, p90 = np.percentile(ms, (10, 50, 90)).tolist()
    engine = ENGINES[name]
    return EngineFigures(
        engine=name,
        title=engine.title,
        version=metadata.version(engine.package),
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        minimum_ms=min(ms),
        runs=len(ms),
        boxes=len(boxes[0]),
        matched=matched(boxes, reference),
    )
