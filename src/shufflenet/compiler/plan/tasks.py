"""How the work of a step is dealt to threads: units that any thread may do, in any order, and how many of them make a task."""

from dataclasses import dataclass
from math import ceil

from shufflenet.compiler.plan.alignment import VECTOR_BYTES
from shufflenet.compiler.plan.machines import Machine

MOST_TASKS = 16  # of a step: more than one for each of as many threads as such networks can use
TILE_BYTES = 3 * VECTOR_BYTES  # of a plane: a piece is as wide as a usual tile at least
BLOCK_ROWS = 10  # of a product: a piece of its rows is as high as this at least


@dataclass(frozen=True)
class Tasks:
    """`units` of work, `each` of them a task; the last task may have fewer. A range of tasks is a range of units."""

    units: int
    each: int

    @property
    def count(self) -> int:
        return -(-self.units // self.each)


def worth(machine: Machine, multiply_adds: int, moved_bytes: int) -> int:
    """How many tasks so much work is worth; 1 where other threads would cost more than they save."""
    nanoseconds = max(multiply_adds / machine.multiply_adds_per_ns, moved_bytes / machine.bytes_per_ns)
    return max(1, min(MOST_TASKS, ceil(nanoseconds / machine.task_ns)))


def deal(machine: Machine, units: int, multiply_adds: int, moved_bytes: int, least: int = 1) -> Tasks | None:
    """Tasks of at least so many units each; an even number of them where that can be, for two threads. None: it stays on one."""
    wanted = min(worth(machine, multiply_adds, moved_bytes), units // least)
    if wanted < 2:
        return None
    even = [each for each in range(least, units // wanted + 1) if units % (2 * each) == 0]
    return Tasks(units, max(even, default=least))


def cut_product(groups: int, rows: int, plane_bytes: int, wanted: int) -> tuple[int, int]:
    """Into how many pieces of its rows, and of its pixels, each group of a product is cut, so that there are tasks to deal.

    Pixels first, so that two threads have as much to do. Where there are too few of them, rows are cut, evenly.
    """
    if wanted == 1:
        return 1, 1
    pieces = -(-wanted // groups)
    pieces += pieces % 2
    across = min(pieces, plane_bytes // TILE_BYTES)
    if across > 1:
        return 1, across
    heights = [n for n in range(1, pieces + 1) if rows % n == 0 and (n == 1 or rows // n >= BLOCK_ROWS)]
    return max(heights, key=lambda n: (groups * n % 2 == 0, n)), 1
