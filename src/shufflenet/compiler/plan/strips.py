"""Cache blocking across steps: where no cache holds a unit's planes, its steps follow one another a strip of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from shufflenet.compiler.graph.elements import Element
from shufflenet.compiler.plan.alignment import OVERHANG_BYTES, VECTOR_BYTES, odd_lines, whole_lines
from shufflenet.compiler.plan.blocking import chunk_pixels, chunk_step, cut_pixels
from shufflenet.compiler.plan.machines import Machine
from shufflenet.compiler.plan.operands import Buffer, Chunks, Planes, Window
from shufflenet.compiler.plan.steps import Depthwise, Product, Run, Step, Strips
from shufflenet.compiler.plan.tasks import Tasks

MOST_STRIP_TASKS = 16  # of a unit; for each beyond the first, rows that it shares are kept

UnitSteps = tuple[Product, Depthwise, Product, Depthwise | None]


def in_strips(steps: Sequence[Step], kept: set[Buffer], machine: Machine) -> Iterator[Step]:
    """The steps in their order, those of a large unit as one. `kept` are the buffers that are read after the last step."""
    rest = list(steps)
    while rest:
        unit = _unit(rest)
        strips = _strips(*unit, machine) if unit and _alone(unit, steps, kept) else None
        yield strips or rest[0]
        del rest[: len(strips.members) if strips else 1]


def _unit(steps: Sequence[Step]) -> UnitSteps | None:
    """A 1×1 convolution, a 3×3 depthwise one of what it makes, a 1×1 one of that; and the pool of the unit's input, if it comes next."""
    match steps:
        case [
            Product(row_pieces=1) as compress,
            Depthwise(direct=True) as depthwise,
            Product(row_pieces=1) as expand,
            *after,
        ] if depthwise.input.buffer == compress.output.buffer and expand.input.buffer == depthwise.output.buffer:
            match after:
                case [Depthwise(direct=True) as pool, *_] if (
                    pool.window == depthwise.window and pool.input.buffer == compress.input.buffer
                ):
                    return compress, depthwise, expand, pool
            return compress, depthwise, expand, None
    return None


def _alone(unit: UnitSteps, steps: Sequence[Step], kept: set[Buffer]) -> bool:
    """Whether nobody else sees what lies between the unit's steps."""
    compress, depthwise, expand, _ = unit
    between = {compress.output.buffer, depthwise.output.buffer}
    seen = kept | {buffer for step in steps if step not in unit for buffer in step.buffers}
    return not between & (seen | ({expand.addend.buffer} if expand.addend else set()))


def _strips(
    compress: Product, depthwise: Depthwise, expand: Product, shortcut: Depthwise | None, machine: Machine
) -> Strips | None:
    """The unit as one step, if it is large and its strips small enough."""
    window = depthwise.window
    read, between, made = (len(planes.planes) for planes in (compress.input, compress.output, expand.output))
    made_apart = made if expand.output.buffer != compress.input.buffer else 0
    rows = _strip_rows(window, read, between, made_apart, compress.output.element, machine)
    if not rows:
        return None
    width, output_width = window.width, window.output_width
    # Of each plane a strip lies in scratch: first those before the depthwise convolution, then those after.
    scratch = Buffer(expand.name, "scratch")
    element = compress.output.element
    strip = (window.stride[0] * rows + window.shared_rows) * width
    stride = odd_lines(strip + element.count(OVERHANG_BYTES), element)
    output_stride = odd_lines(rows * output_width, element)
    end = (max(compress.output.planes) + 1) * stride
    edge_stride = whole_lines(window.shared_rows * width, element) + element.count(OVERHANG_BYTES)
    edge_bytes = (max(compress.output.planes) + 1) * edge_stride * element.bytes
    edges = element.bytes * (end + (max(depthwise.output.planes) + 1) * output_stride)
    tasks = _tasks(window, rows, element)

    def compressed(planes: Planes, row: int) -> Planes:
        return replace(planes, buffer=scratch, stride=stride, first=row * width)

    def filtered(planes: Planes) -> Planes:
        return replace(planes, buffer=scratch, stride=output_stride, first=end)

    steps = [step for step in (compress, depthwise, expand, shortcut) if step]
    return Strips(
        name=expand.name,
        comment=f"unit of {read} → {between} → {made} channels{' and a pool' if shortcut else ''}, "
        f"{window.output_height}×{output_width}, {rows} {'rows' if rows > 1 else 'row'} at a time",
        output=expand.output,
        work=sum(step.work for step in steps),
        scratch_bytes=edges + (tasks.count - 1) * edge_bytes if tasks else edges,
        tasks=tasks,
        compress=replace(compress, output=compressed(compress.output, window.shared_rows)),
        depthwise=replace(depthwise, input=compressed(depthwise.input, 1), output=filtered(depthwise.output)),
        expand=replace(expand, input=filtered(expand.input)),
        shortcut=shortcut,
        runs=tuple(_runs(compress, expand, window, rows, machine.chunk_bytes)),
        edge=replace(
            compress,
            output=replace(compress.output, buffer=scratch, stride=edge_stride),
            chunks=_chunks(compress, window.shared_rows * width, machine.chunk_bytes, single_pixels=False),
        ),
        edges=edges,
        edge_bytes=edge_bytes,
    )


def _tasks(window: Window, rows: int, element: Element) -> Tasks | None:
    """Strips as tasks, of as many strips each as two threads share most evenly."""
    strips = -(-window.output_height // rows)
    if strips < 2 or (window.stride == (1, 1) and not _keeps_apart(window, rows, strips, element)):
        return None
    least = -(-strips // MOST_STRIP_TASKS)
    return max(
        (Tasks(strips, each) for each in (least, least + 1)),
        key=lambda tasks: _evenness(tasks, rows, window.output_height),
    )


def _keeps_apart(window: Window, rows: int, strips: int, element: Element) -> bool:
    """Whether a strip reads only its own rows, at stride 1; behind the last one's may be the first row of another plane."""
    last = window.output_height - rows * (strips - 1)
    whole = (last - 1) * window.width % element.count(VECTOR_BYTES) == 0
    return whole and _left_out(rows, window.width, element) > 0


def _left_out(rows: int, width: int, element: Element) -> int:
    """How many of a strip's last `rows` compressed rows come from its edge with another thread's strip; 0: it cannot be.

    At stride 1 the rows below are written by that thread, so no vector may reach into them: what is left has to be whole vectors. The
    last row is made of the first of those rows; the one before it is in the edge, too.
    """
    return next((n for n in (1, 2) if n < rows and (rows - n) * width % element.count(VECTOR_BYTES) == 0), 0)


def _evenness(tasks: Tasks | None, rows: int, height: int) -> float:
    """The half of all rows over those of the busier one of two threads: 1 where both have as many, 0.5 where one has all."""
    first = tasks.count // 2 * tasks.each * rows if tasks else 0
    return height / 2 / max(first, height - first)


def _strip_rows(window: Window, read: int, between: int, made: int, element: Element, machine: Machine) -> int | None:
    """Output rows of a strip, where there are so many input planes, planes inside and output planes; None where the unit is small.

    At stride 1 two rows of a strip serve the next one, too: it must be as high. A strip is of whole vectors, so that none reaches over
    the addend of the next.
    """
    stride = window.stride[0]
    # Of one row of output.
    row_bytes = ((read + between) * stride**2 + between + made) * window.output_width * element.bytes
    heights = [
        rows
        for rows in range(window.shared_rows, window.output_height)
        if rows * row_bytes <= machine.strip_bytes and rows * window.output_width % element.count(VECTOR_BYTES) == 0
    ]
    if row_bytes * window.output_height < machine.unit_bytes:
        return None
    if not heights:
        return None

    def whole_chunks(rows: int) -> bool:
        return rows * window.output_width % chunk_step(element) == 0

    def evenness(rows: int) -> float:
        return round(_evenness(_tasks(window, rows, element), rows, window.output_height), 1)

    # Half the rows cost one thread less than a hundredth more; two uneven halves cost two threads up to a third.
    highest = max(heights, key=lambda rows: (whole_chunks(rows), rows))
    return max(
        (rows for rows in heights if 2 * rows >= highest),
        key=lambda rows: (evenness(rows), whole_chunks(rows), rows),
    )


def _runs(compress: Product, expand: Product, window: Window, rows: int, chunk_bytes: int) -> Iterator[Run]:
    """Strips one after the other, those together that are alike."""
    stride, height = window.stride[0], window.output_height

    def strip(first: int) -> tuple[int, int, int]:
        """Its first row, how many rows of the unit's output it has, and how many of the compressed planes it makes."""
        end = min(first + rows, height)
        below = stride * (first - 1) + 2 if first else 0  # the rows above serve the strip above, too
        return first, end - first, min(stride * (end - 1) + 2, window.height) - below

    for (_, count, compressed), strips in groupby(
        map(strip, range(0, height, rows)), key=lambda strip: (strip[0] == 0, *strip[1:])
    ):
        first, *others = (strip[0] for strip in strips)
        left_out = _left_out(compressed, window.width, compress.output.element) if stride == 1 else 0
        yield Run(
            first,
            max([first, *others]) + count,
            count,
            # A pixel is summed up the same way, whichever strip makes it.
            _chunks(compress, compressed * window.width, chunk_bytes, single_pixels=False),
            _chunks(expand, count * window.output_width, chunk_bytes),
            _chunks(compress, (compressed - left_out) * window.width, chunk_bytes, single_pixels=False)
            if left_out
            else (),
            left_out,
        )


def _chunks(product: Product, pixels: int, chunk_bytes: int, *, single_pixels: bool = True) -> tuple[Chunks, ...]:
    """So many pixels in even chunks, for the blocks in which the weights are packed."""
    if not pixels:
        return ()
    element = product.input.element
    pieces = -(-pixels // chunk_pixels(product.inner, element, chunk_bytes))
    size = -(-pixels // pieces // chunk_step(element)) * chunk_step(element)
    rows = len(product.output.planes) // product.groups
    block = product.chunks[0].blocks[0].rows
    return cut_pixels(rows, pixels, size, block=block, element=element, single_pixels=single_pixels)
