"""What float16 costs: a graph beside the float32 one that it was, on pictures, in the interpreter's arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Graph
from shufflenet.compiler.graph.reference import execute, read

LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Rounding:
    """`largest_difference`: of any output of any picture from float32's, over the largest |number| of that output."""

    pictures: int
    largest_difference: float

    def __str__(self) -> str:
        tried = f"{self.pictures} picture{'s' if self.pictures > 1 else ''}"
        return f"moves outputs by {self.largest_difference:.1e} of the largest at most, on {tried}"


def measure_rounding(graph: Graph, halved: Graph, pictures: Sequence[Mapping[str, np.ndarray]]) -> Rounding:
    """`pictures`: what each input takes, by its name.

    Raises CompileError where a number that float32 holds is beyond float16, with the name of the layer that makes it.
    """
    worst = 0.0
    for picture in pictures:
        exact, rounded = execute(graph, picture), execute(halved, picture)
        for operation in graph.operations:
            expected, found = read(exact, operation.output), read(rounded, operation.output)
            if (np.isinf(found) & np.isfinite(expected)).any():
                raise CompileError(
                    f"{operation.name} comes to {np.abs(expected[np.isfinite(expected)]).max():.6g} on a calibration picture, and the "
                    f"largest float16 is {LARGEST:.0f}; compile it with float16 weights alone, or in float32."
                )
        for port in graph.outputs:
            expected, found = read(exact, port.view).astype(np.float64), read(rounded, port.view)
            worst = max(
                worst, float(np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))
            )
    return Rounding(len(pictures), worst)
