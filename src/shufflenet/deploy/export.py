"""A network → the files of another runtime, run there at once and compared with torch."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shufflenet import atomic
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import Parity, compare, require_parity, sample_inputs
from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes import FORMATS
from shufflenet.deploy.worker import start
from shufflenet.errors import UserError
from shufflenet.nets.quantized import QuantizedNetwork

PARITY_PICTURES = 8


@dataclass(frozen=True)
class Export:
    """What was written and how well it agrees with torch. The same is in the .json beside the files."""

    files: tuple[Path, ...]
    runtime: str
    bytes: int
    parity: Parity
    record: Path


def export(
    source: Exportable,
    format: str,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Export:
    """Write `source` in one of `FORMATS` into `folder`, run it on real pictures in its runtime, and write a .json beside it.

    The .json holds the file's size, its input, the preprocessing that it expects, classes and parity. Files appear complete, after
    the comparison, or not at all. Raises UserError for a missing package, files in the way, an option that the format does not have,
    and a result further from float64 than three times torch's own.
    """
    runtime = _runtime(format, source)
    if source.with_preprocessing and runtime.float_pictures:
        source = replace(source, float_pictures=True)
    record = folder / f"{source.name}{runtime.suffix}.json"
    if not overwrite:  # asked before a conversion that may take a minute, and below for what else that has written
        _refuse_to_replace(record.with_suffix(""), record)
    with atomic.writing_into(folder) as scratch:
        progress(f"{runtime.title}: converting")
        written = runtime.write(source, scratch)
        targets = [folder / path.name for path in written]
        if not overwrite:
            _refuse_to_replace(*targets)
        progress(f"{runtime.title}: comparing with torch on {PARITY_PICTURES} pictures")
        parity = _parity(source, runtime, written[0])
        done = Export(
            tuple(targets),
            f"{runtime.title} {runtime.version}",
            sum(path.stat().st_size for path in written),
            parity,
            record,
        )
        text = json.dumps(describe(source, runtime, done), indent=2, ensure_ascii=False) + "\n"
        (scratch / record.name).write_text(text, encoding="utf-8")
    return done


def _refuse_to_replace(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise UserError(f"{path} is there already; choose another folder, or overwrite it on purpose (--overwrite)")


def _runtime(format: str, source: Exportable) -> Runtime:
    if format not in FORMATS:
        raise UserError(f"there is no format {format!r}; it is one of {', '.join(FORMATS)}")
    runtime = FORMATS[format]
    if source.open_size and not runtime.open_size:
        able = ", ".join(name for name, other in FORMATS.items() if other.open_size)
        raise UserError(f"{format} files hold one picture size; an open one can be exported as {able}")
    if isinstance(source.net, QuantizedNetwork) and runtime.write_integers is not runtime.write:
        able = " or ".join(name for name, other in FORMATS.items() if other.write_integers is other.write)
        raise UserError(
            f"{runtime.title} reads no network of integers as we write it; export {able}, or the float32 network it was made of"
        )
    if missing := runtime.missing():
        raise UserError(missing)
    return runtime


def _parity(source: Exportable, runtime: Runtime, path: Path) -> Parity:
    inputs = sample_inputs(source, PARITY_PICTURES)
    with start(runtime, path, inputs) as worker:
        outputs = worker.outputs
    torchs = source.run(inputs)
    # Integers are the same numbers at any precision, but where a tie tips.
    integers = isinstance(source.net, QuantizedNetwork)
    exact = torchs if integers else source.run_in_float64(inputs)
    apart, torchs_apart = (compare(result, exact).max_relative_difference for result in (outputs, torchs))
    require_parity(runtime, apart, torchs_apart, integers=integers)
    return compare(outputs, torchs)


def describe(source: Exportable, runtime: Runtime, done: Export) -> dict[str, Any]:
    """The .json beside an export."""
    metadata = source.metadata
    size: list[Any] = list(source.input_shape)
    return {
        "format": runtime.name,
        "files": [path.name for path in done.files],
        "bytes": done.bytes,
        "architecture": source.net.spec,
        **({"quantization": source.net.record} if isinstance(source.net, QuantizedNetwork) else {}),
        "input": {
            "shape": ["batch", *size],
            "layout": "NHWC" if source.with_preprocessing else "NCHW",
            "dtype": str(source.dtype).removeprefix("torch."),
            "open_size": source.open_size,
        },
        "output": source.output_name,
        "preprocessing": {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(metadata.preprocessing).items()},
            "size": list(source.height_width),
            "normalization": "in the graph" if source.with_preprocessing else "outside the graph",
        },
        "classes": list(metadata.classes),
        "runtime": done.runtime,
        "parity": asdict(done.parity),
    }
