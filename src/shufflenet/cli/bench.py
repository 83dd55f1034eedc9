"""`shufflenet bench SRC`: one network in all runtimes; `--layers`: ours, step by step; `--table8`: the paper's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from shufflenet.compiler.graph.elements import NumberType
    from shufflenet.compiler.run.profile import StepTime
    from shufflenet.deploy.bench import Bench, RuntimeFigures
    from shufflenet.deploy.layers import Layers

Progress = Callable[[str], None]
PLOTS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Result:
    """What was measured: as JSON, for the terminal, and as a plot."""

    record: dict[str, Any]
    shown: list[Any]
    plot: Callable[[Path], None] | None = None


def bench(
    src: Annotated[
        str | None,
        typer.Argument(
            help="A variant (random weights), a checkpoint folder, a shipped name or a Hub id; an ONNX file with --layers."
        ),
    ] = None,
    runtimes: Annotated[
        str,
        typer.Option(
            help="all, or names with commas: compiled, onnx, openvino, ncnn, mnn, litert, executorch, torchscript, torch, torch-compile."
        ),
    ] = "all",
    size: Annotated[
        str | None, typer.Option(help="Height × width of the picture, such as 480x640; default: the checkpoint's.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads, and processors that a runtime may use.")] = 1,
    element: Annotated[
        str, typer.Option(help="float32, or float16: networks that compute in half precision beside those in float32.")
    ] = "float32",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every runtime has its turn.")] = 20,
    data: Annotated[
        str | None,
        typer.Option(help="A data set whose test pictures every runtime classifies: adds the error's column."),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="With --data: how many test pictures at most.")] = 1000,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each step of the compiled network, on one thread, instead.")
    ] = False,
    table8: Annotated[
        bool, typer.Option("--table8", help="Measure the paper's Table 8 instead of one network.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the JSON to a file too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot, .png, .svg or .pdf.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runtimes on one network: time of one picture, memory, file size, and agreement with torch.

    A quantized network is measured in integers and, with the same weights, in float32.

    Every runtime runs in a process of its own, bound to as many processors as --threads; all are warm before the first of the
    interleaved rounds. --layers prints µs, GFLOP/s and the share of the machine's measured peak of each step instead. --table8 takes
    the first of --runtimes (default: compiled) and the paper's three picture sizes.

    Examples:

      shufflenet bench runs/flowers

      shufflenet bench shufflenet_x1_0_g3 --runtimes compiled,onnx,ncnn --size 480x640 --plot bench.png

      shufflenet bench clothes_int8 --data fashion-mnist

      shufflenet bench runs/flowers --runtimes compiled,onnx --element float16 --threads 2

      shufflenet bench shufflenet_x1_0_g3 --layers

      shufflenet bench --table8 -o experiments/results/table8/bench.json
    """
    import json as json_module
    from contextlib import nullcontext
    from typing import cast

    from shufflenet.atomic import write_text, writing
    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import console, print_json, print_whole
    from shufflenet.compiler.graph.elements import NumberType
    from shufflenet.errors import UserError

    if element not in ("float32", "float16"):
        raise UserError(f"--element {element} is unknown; choose float32 or float16")
    if element == "float16" and (table8 or layers):
        raise UserError("--element float16 is for one network in all runtimes; leave --table8 and --layers out")
    if table8 == bool(src):
        raise UserError("give either a network or --table8")
    if table8 and size:
        raise UserError("--table8 has sizes of its own; leave --size out")
    if layers and (table8 or plot or threads > 1 or runtimes != "all"):
        raise UserError(
            "--layers times the compiled network on one thread; leave --table8, --runtimes, --threads and --plot out"
        )
    if data and (layers or table8):
        raise UserError("--data is for one network in all runtimes; leave --layers and --table8 out")
    for path in (output, plot):
        if path and path.exists() and not overwrite:
            raise UserError(f"{path} is there already; choose another name, or overwrite it on purpose (--overwrite)")
    if plot and plot.suffix not in PLOTS:
        raise UserError(f"{plot} cannot be drawn; a plot's name ends in {', '.join(PLOTS)}")
    shape = parse_size(size) if size else None
    with nullcontext() if json else console(stderr=True).status("starting") as status:
        progress: Progress = status.update if status else lambda _: None
        if table8:
            result = _measure_table8(runtimes, threads, rounds, progress)
        elif layers:
            result = _measure_layers(src or "", shape, rounds, progress)
        else:
            tested = (data, pictures) if data else None
            result = _measure_network(
                src or "", runtimes, shape, threads, rounds, cast(NumberType, element), tested, progress
            )
    if output:
        write_text(output, json_module.dumps(result.record, indent=2) + "\n")
    if plot and result.plot:
        with writing(plot) as temporary:
            result.plot(temporary)
    if json:
        print_json(result.record)
        return
    for part in result.shown:
        print_whole(part)


def _measure_network(
    src: str,
    runtimes: str,
    size: tuple[int, int] | None,
    threads: int,
    rounds: int,
    element: "NumberType",
    tested: tuple[str, int] | None,
    progress: Progress,
) -> Result:
    from functools import partial

    from shufflenet.deploy.bench import bench as measure
    from shufflenet.deploy.bench import select, test_pictures
    from shufflenet.deploy.plot import plot_bench
    from shufflenet.deploy.resolve import resolve_network
    from shufflenet.errors import UserError

    chosen = select(runtimes)
    net = resolve_network(src, size)
    shape = size or net.metadata.preprocessing.size
    pictures = test_pictures(net, tested[0], shape, tested[1]) if tested else None
    done = measure(
        net, chosen, size=shape, threads=threads, rounds=rounds, element=element, tested=pictures, progress=progress
    )
    if not done.rows:
        raise UserError(f"nothing was measured; {'; '.join(absent.reason for absent in done.absent)}")
    notes = [f"not measured: {absent.runtime}: {absent.reason}" for absent in done.absent]
    random, said = _random(src)
    return Result({**done.to_json(), **random}, [_table(done), *notes, *said], partial(plot_bench, done))


def _measure_layers(src: str, size: tuple[int, int] | None, rounds: int, progress: Progress) -> Result:
    from shufflenet.deploy.bench import RUNS_PER_ROUND
    from shufflenet.deploy.layers import bench_layers
    from shufflenet.deploy.resolve import resolve

    done = bench_layers(resolve(src, size), size, runs=rounds * RUNS_PER_ROUND, progress=progress)
    random, said = _random(src)
    return Result({**done.to_json(), **random}, [_layer_table(done), *said])


def _random(src: str) -> tuple[dict[str, bool], list[str]]:
    """Whether a network's weights are random, for the record and in words."""
    from shufflenet.deploy.resolve import RANDOM, is_variant

    random = is_variant(src)
    return {"random_weights": random}, [RANDOM.format(src)] if random else []


def _measure_table8(runtimes: str, threads: int, rounds: int, progress: Progress) -> Result:
    from functools import partial

    from shufflenet.cli.terminal import blocks_table
    from shufflenet.deploy.bench import select
    from shufflenet.paper import table8
    from shufflenet.paper.measured_tables import speed
    from shufflenet.paper.results import Results

    runtime = select("compiled" if runtimes == "all" else runtimes)[0]
    record = table8.measure(runtime, threads=threads, rounds=rounds, progress=progress)
    view = speed(Results(speed=record))
    table = blocks_table(view.title, [heading.text for heading in view.headings], view.written())
    return Result(record, [table, *table8.scaling_lines(record), *view.notes], partial(table8.plot, record))


def _table(done: "Bench") -> "Table":
    from rich.table import Table

    from shufflenet.deploy.bench import host, three_digits

    table = Table(
        title=done.title, caption=host(), box=None, header_style="bold", title_justify="left", caption_justify="left",
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("runtime", no_wrap=True)
    # Two lines a heading, and no unit in the cells: the whole is to fit 80 columns.
    cells: dict[str, Callable[[RuntimeFigures], str]] = {
        "median\nms": lambda row: three_digits(row.median_ms),
        "10–90%\nms": lambda row: f"{three_digits(row.p10_ms)}–{three_digits(row.p90_ms)}",
        "ratio": lambda row: f"{three_digits(row.median_ms / done.rows[0].median_ms)}×",
        "peak\nMiB": lambda row: f"{row.peak_memory_bytes / 2**20:.0f}",
        "network\nMiB": lambda row: f"{row.network_memory_bytes / 2**20:.1f}",
        "file\nMiB": lambda row: f"{row.file_bytes / 2**20:.2f}",
        "differs\nby": lambda row: f"{row.parity.max_relative_difference:.0e}",
        "top-1\nagrees": lambda row: f"{row.parity.top1_agreement:.0%}",
    }
    if done.test_pictures:
        cells["top-1\nerror"] = lambda row: f"{row.top1_error:.2f}%"
        del cells["peak\nMiB"]
    for heading in cells:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in done.rows:
        table.add_row(done.label(row), *(cell(row) for cell in cells.values()))
    return table


def _layer_table(done: "Layers") -> "Table":
    from rich.table import Table

    table = Table(
        title=f"{done.variant}, {'×'.join(map(str, done.size))}, compiled for {done.target}; "
        f"the machine's peak is {done.peak_gflops:.1f} GFLOP/s on one thread",
        box=None,
        header_style="bold",
        title_justify="left",
        show_footer=True,
    )
    total = done.total

    def cells(step: "StepTime") -> tuple[str, ...]:
        time = f"{step.nanoseconds / 1e3:.1f}", f"{step.nanoseconds / max(total.nanoseconds, 1):.1%}"
        rate = f"{step.gflops:.1f}", f"{step.gflops / done.peak_gflops:.0%}"
        return (*time, *(rate if step.multiply_adds else ("", "")))

    for heading, footer in zip(("µs", "of time", "GFLOP/s", "of peak"), cells(total), strict=True):
        table.add_column(heading, footer=footer, justify="right")
    table.add_column("step", footer="all", overflow="fold")
    for step in done.steps:
        table.add_row(*cells(step), step.comment)
    return table
