"""This project's own: the network compiled to C, as a library for this machine."""

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime

if TYPE_CHECKING:
    from shufflenet.compiler.graph.elements import NumberType
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path, element: "NumberType" = "float32") -> list[Path]:
    """The library, what says how it is called, and its weights where they are not in it."""
    from shufflenet.deploy.compile import compile

    built = compile(source.net, source.size, element=element).library
    needed = (built, built.with_suffix(".json"), built.with_suffix(".bin"))
    return [Path(shutil.copy(path, folder)) for path in needed if path.exists()]


def load(path: Path, threads: int) -> Classify:
    from shufflenet import compiler

    network = compiler.load(path, threads)
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
    write_integers=write,
    write_halves=partial(write, element="float16"),
)
