"""ONNX in, C out: a network becomes one dependency-free C source that runs it on one thread. Imports onnx and numpy only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx

from shufflenet.compiler.c.emit import emit
from shufflenet.compiler.c.source import CSource, Pixels, Signature
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.elements import FLOAT16, NumberType
from shufflenet.compiler.graph.ir import Graph, Pair
from shufflenet.compiler.graph.rounding import Rounding, measure_rounding
from shufflenet.compiler.graph.verify import verify
from shufflenet.compiler.plan import make_plan
from shufflenet.compiler.plan.steps import Plan
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.run.build import build, build_once
from shufflenet.compiler.run.network import CompiledNetwork, load
from shufflenet.compiler.simplify import stages
from shufflenet.compiler.simplify.halve import halve

__all__ = [
    "CSource",
    "CompileError",
    "Compiled",
    "CompiledNetwork",
    "Pixels",
    "Plan",
    "Signature",
    "build",
    "build_once",
    "compile_onnx",
    "load",
]


@dataclass(frozen=True)
class Compiled:
    """What a network became: the plan, with its figures, and the C source. `rounding`: what float16 costs, where it is in use."""

    plan: Plan
    source: CSource
    rounding: Rounding | None = None

    def load(self) -> CompiledNetwork:
        """Built for this machine, or found in the cache, and ready to be called."""
        return load(build(self.source))


def compile_onnx(
    model: onnx.ModelProto | bytes | str | Path,
    size: int | Pair | None = None,
    *,
    name: str = "network",
    title: str = "A network",
    pixels: Pixels | None = None,
    embed: bool | None = None,
    timed: bool = False,
    apart: bool = False,
    dump: Path | None = None,
    element: NumberType = "float32",
    weights: NumberType | None = None,
    calibration: Sequence[np.ndarray] | None = None,
) -> Compiled:
    """Compile an ONNX file, its bytes or its parsed form for pictures of `size` (height, width; a number is a square).

    `name` begins every public name of the C source, `title` its header comment. `pixels` adds NAME_run_rgb8, which takes 8-bit RGB.
    `embed` puts the weights into the source or into NAME.bin (default: by their size). `timed` adds NAME_run_timed, which reads a clock
    after every step. `apart` is for a graph of several networks: NAME_run_INPUT for each input takes NAME_run's place. `dump` is a
    folder that gets each stage as text. `element` is what the network computes with, `weights` what its weights are stored as
    (default: the same; float16 weights alone are widened where products read them). `calibration` are pictures, float32 (channels,
    height, width), on which float16 is held against float32; default: noise. Raises CompileError for what cannot be compiled, with
    the node's name.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise CompileError(f"{name!r} cannot begin a C function's name; use letters, digits and _.")
    graph = read_onnx(model, size)
    for number, (stage, graph) in enumerate(stages(graph)):  # noqa: B020 the last stage is what is planned
        if dump:
            _write(dump / f"{number:02}-{stage}.txt", str(graph))
    rounding = None
    if FLOAT16.name in (element, weights):
        exact, graph = graph, verify(halve(graph, tensors=element == FLOAT16.name))
        if dump:
            _write(dump / "halved.txt", str(graph))
        rounding = measure_rounding(exact, graph, _pictures(exact, calibration))
    plan = make_plan(graph)
    if dump:
        _write(dump / "plan.txt", str(plan))
    version = metadata.version("shufflenet")
    source = emit(plan, name, title=title, version=version, pixels=pixels, embed=embed, timed=timed, apart=apart)
    return Compiled(plan, source, rounding)


def _pictures(graph: Graph, calibration: Sequence[np.ndarray] | None) -> list[dict[str, np.ndarray]]:
    """Pictures for a network's inputs: these, or one of noise."""
    if calibration is None:
        random = np.random.default_rng(0)
        return [{port.name: random.standard_normal(port.shape, np.float32) for port in graph.inputs}]
    if len(graph.inputs) != 1 or not calibration:
        raise CompileError(
            f"{len(calibration)} calibration pictures do not fit {len(graph.inputs)} inputs; leave them out."
        )
    for picture in calibration:
        if picture.shape != graph.inputs[0].shape[1:]:
            raise CompileError(
                f"a calibration picture is {picture.shape}; the network takes {graph.inputs[0].shape[1:]}."
            )
    return [{graph.inputs[0].name: picture[None]} for picture in calibration]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
