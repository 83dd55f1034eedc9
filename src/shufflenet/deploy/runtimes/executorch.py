"""ExecuTorch, with all that XNNPACK takes handed to it."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, one_by_one

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path) -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports' own
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # pyright: ignore[reportMissingImports]
        from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

        lowered = to_edge_transform_and_lower(source.capture(), partitioner=[XnnpackPartitioner()])
        path = folder / f"{source.name}.pte"
        path.write_bytes(lowered.to_executorch().buffer)
    return [path]


def load(path: Path, threads: int) -> Classify:
    """`threads` is not passed on: ExecuTorch counts the processors that the process may use."""
    import torch
    from executorch.runtime import Runtime as Executor  # pyright: ignore[reportMissingImports]

    method = Executor.get().load_program(path).load_method("forward")

    def run(picture: np.ndarray) -> np.ndarray:
        return method.execute([torch.from_numpy(picture)])[0].numpy().copy()

    return one_by_one(run)


EXECUTORCH = Runtime(
    name="executorch",
    title="ExecuTorch",
    package="executorch",
    extra="executorch",
    suffix=".pte",
    writes=("executorch",),
    runs=("torch", "executorch.runtime"),
    write=write,
    load=load,
)
