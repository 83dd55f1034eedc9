"""PyTorch itself: as it is, by torch.compile, and as TorchScript."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from shufflenet.deploy.runtime import Classify, Runtime

if TYPE_CHECKING:
    from torch import nn

    from shufflenet.deploy.exportable import Exportable


def _runner(module: "nn.Module", threads: int) -> Classify:
    import torch

    torch.set_num_threads(threads)

    def run(batch):
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    return run


def write_checkpoint(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.checkpoints import save
    from shufflenet.checkpoints.folder import WEIGHTS_NAME

    return [save(source.net, folder / source.name) / WEIGHTS_NAME]


def load_eager(path: Path, threads: int) -> Classify:
    from shufflenet.checkpoints import load

    return _runner(load(path.parent), threads)


def load_compiled(path: Path, threads: int) -> Classify:
    import torch

    from shufflenet.checkpoints import load

    return _runner(torch.compile(load(path.parent)), threads)  # pyright: ignore[reportArgumentType]


def write_script(source: "Exportable", folder: Path) -> list[Path]:
    import torch

    path = folder / f"{source.name}.pt"
    with warnings.catch_warnings():
        # torch deprecates TorchScript, and warns that Python's part of a network (the check of a shuffle's groups) is not traced.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        torch.jit.save(torch.jit.trace(source.module, source.example), str(path))
    return [path]


def load_script(path: Path, threads: int) -> Classify:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        return _runner(torch.jit.load(str(path)), threads)


EAGER = Runtime(
    name="torch",
    title="PyTorch",
    package="torch",
    runs=("torch", "shufflenet.checkpoints"),
    write=write_checkpoint,
    load=load_eager,
)
COMPILED = Runtime(
    name="torch-compile",
    title="torch.compile",
    package="torch",
    runs=("torch", "shufflenet.checkpoints"),
    write=write_checkpoint,
    load=load_compiled,
)
TORCHSCRIPT = Runtime(
    name="torchscript",
    title="TorchScript",
    package="torch",
    suffix=".pt",
    runs=("torch",),
    write=write_script,
    load=load_script,
)
