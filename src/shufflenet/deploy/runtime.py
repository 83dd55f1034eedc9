"""What every runtime is to this package: a file written from a network, and a function that runs it."""

import importlib.util
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shufflenet.errors import UserError

if TYPE_CHECKING:  # a process that only runs a file, as the bench's do, must not load torch
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.exportable_heads import ExportableHeads

# A batch of inputs → [n, classes]; of a detector's heads [n, numbers of all maps, one map after the other].
Classify = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """One runtime. `write` makes its files and returns them, the one to load first; `load` runs that one on so many threads.

    `extra` is the extra of this package that brings it, `writes` and `runs` are the modules that writing and running need, the latter
    imported before a network's memory is measured; `package` names the distribution whose version is reported. `suffix` is what
    `shufflenet export` names the file by.
    """

    name: str
    title: str
    package: str
    write: Callable[["Exportable", Path], list[Path]]
    load: Callable[[Path, int], Classify]
    suffix: str = ""
    extra: str = ""
    writes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    open_size: bool = False  # whether its files may leave height and width open
    float_pictures: bool = False  # whether pictures come as float32 of whole numbers, because it has no uint8 input
    # Writes a quantized network so that it computes in 8-bit integers; None where it cannot.
    write_integers: Callable[["Exportable", Path], list[Path]] | None = None
    # Writes a network so that it computes in half precision; None where it cannot.
    write_halves: Callable[["Exportable", Path], list[Path]] | None = None
    # Writes the heads of a one-stage detector, a file of several outputs; None where we do not.
    write_heads: Callable[["ExportableHeads", Path], list[Path]] | None = None
    output_name: str = ""  # of each of several outputs, {} for its number

    def missing(self) -> str | None:
        """One sentence on what is not installed for writing and running; None if everything is."""
        packages = dict.fromkeys(name.partition(".")[0] for name in (*self.writes, *self.runs))  # each once, in order
        absent = [name for name in packages if importlib.util.find_spec(name) is None]
        if not absent:
            return None
        return f"{self.title} needs {', '.join(absent)}: pip install 'shufflenet[{self.extra}]'"

    @property
    def version(self) -> str:
        return metadata.version(self.package)


def one_by_one(run: Callable[[np.ndarray], np.ndarray]) -> Classify:
    """For a runtime whose files hold a batch of one: `run` maps [1, ...] to [1, classes]."""
    return lambda batch: np.concatenate([run(batch[i : i + 1]) for i in range(len(batch))])


def call_converter(title: str, command: Sequence[str], folder: Path, written: Path) -> None:
    """Run a converter in `folder`, in a process of its own. Raises UserError with its last words if `written` does not appear."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode or not written.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise UserError(f"{title} could not convert the network: {lines[-1] if lines else f'exit {done.returncode}'}")
