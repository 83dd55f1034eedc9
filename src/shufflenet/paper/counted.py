"""What every variant costs, kept in counted.json: `shufflenet list` and `info` show it without building a network.

`python -m shufflenet.paper.counted` counts anew and writes the file. A test counts too, and compares.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shufflenet.nets import Cost

from shufflenet import atomic

NAME = "counted.json"


@dataclass(frozen=True)
class CountedRow:
    """`repeat` units of one stage with one stride, or one layer of a network without stages; shapes without the batch."""

    name: str
    output_shape: tuple[int, ...]
    stride: int
    repeat: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Counted:
    """A network's cost for one picture of `size` (height, width), in rows like those of the paper's Table 1."""

    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    rows: tuple[CountedRow, ...]


@cache
def counted() -> dict[str, Counted]:
    """Every variant's cost at its own size, in the paper's order, as the file has it."""
    records = json.loads(files("shufflenet.paper").joinpath(NAME).read_text(encoding="utf-8"))
    return {
        name: Counted(
            (record["size"][0], record["size"][1]),
            record["parameters"],
            record["multiply_adds"],
            tuple(CountedRow(**{**row, "output_shape": tuple(row["output_shape"])}) for row in record["rows"]),
        )
        for name, record in records.items()
    }


def summary(cost: "Cost") -> Counted:
    """A count of every layer in the rows that people read."""
    rows = cost.stages or cost.layers
    return Counted(cost.size, cost.parameters, cost.multiply_adds, tuple(_rows(rows)))


def _rows(rows: tuple) -> Iterator[CountedRow]:
    for row in rows:
        # A linear layer has no stride.
        stride, repeat = row.stride or 1, getattr(row, "repeat", 1)
        yield CountedRow(row.name, row.output_shape, stride, repeat, row.parameters, row.multiply_adds)


def count() -> dict[str, Counted]:
    """What `counted` keeps, from the networks."""
    import torch

    from shufflenet.nets import cost, create, variants

    found = {}
    for name, variant in variants().items():
        # Counting needs no weights.
        with torch.device("meta"):
            found[name] = summary(cost(create(name), variant.size))
    return found


def main() -> None:
    """Write the file, one line a network."""
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(cost))}" for name, cost in count().items()]
    atomic.write_text(Path(__file__).with_name(NAME), "{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
