"""This project's own: the network compiled to C, as a library for this machine."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Run, Runtime

if TYPE_CHECKING:
    from shufflenet.deploy.source import Source


def write(source: "Source", folder: Path) -> list[Path]:
    """The library, its weights where they are not in it, and a pickle of shapes and sizes, which `load` needs."""
    from shufflenet.compiler import build
    from shufflenet.deploy.compile import compile_source

    compiled = compile_source(source.net, source.size)
    built = build(compiled.source)
    files = [Path(shutil.copy(built, folder))]
    if compiled.source.weights is not None:
        files.append(Path(shutil.copy(built.with_suffix(".bin"), folder)))
    # Without texts and weights: they would count as the network's memory, and the library has them.
    text = replace(compiled.source, c="", h="", weights=None if compiled.source.weights is None else b"")
    plan = replace(compiled.plan, steps=(), weights=np.empty(0, np.float32))
    shapes = folder / f"{source.name}.pickle"
    shapes.write_bytes(pickle.dumps((text, plan)))
    return [*files, shapes]


def load(path: Path, threads: int) -> Run:
    """`threads` is not read: compiled networks run on the thread that calls them."""
    from shufflenet.compiler import Network

    text, plan = pickle.loads(path.with_suffix(".pickle").read_bytes())
    network = Network(path, text, plan)
    return lambda batch: np.reshape(network(batch), (len(batch), -1))


COMPILED_C = Runtime(
    name="compiled",
    title="compiled C",
    package="shufflenet",
    extra="compile",
    writes=("onnx",),
    runs=("shufflenet.compiler",),
    write=write,
    load=load,
)
