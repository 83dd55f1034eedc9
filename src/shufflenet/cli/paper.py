"""`shufflenet paper`: the paper's tables, printed and measured, and the runs that measure them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Show the paper's tables beside what was measured here, and measure them.", no_args_is_help=True)

ResultsFolder = Annotated[Path, typer.Option("--results", help="The folder of result files.")]
RESULTS = Path("experiments/results")


@app.command("table")
def table(
    number: Annotated[int, typer.Argument(help="1 to 8.")],
    results: ResultsFolder = RESULTS,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a table of the paper: its printed figures, ours counted, and ours measured with the data named.

    Examples:

      shufflenet paper table 2

      shufflenet paper table 8 --json
    """
    from shufflenet.cli.terminal import blocks_table, print_json, print_whole, say
    from shufflenet.paper.results import read_results
    from shufflenet.paper.tables import table as make_table

    view = make_table(number, read_results(results))
    if json:
        print_json(view.to_json())
        return
    print_whole(blocks_table(view.title, [heading.text for heading in view.headings], view.written()))
    for note in view.notes:
        say(note)


@app.command("report")
def report(
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML page to write.")] = Path("paper.html"),
    markdown: Annotated[
        Path | None, typer.Option(help="Write it as Markdown too, its plots in a folder beside it.")
    ] = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Write all tables, the paper's claims judged by what was measured, and the plots, as one HTML page.

    An existing report is replaced: everything in it comes from the result files.

    Examples:

      shufflenet paper report

      shufflenet paper report -o paper.html --markdown docs/paper.md
    """
    from shufflenet.cli.terminal import say
    from shufflenet.paper.report import write_report
    from shufflenet.paper.results import read_results

    write_report(read_results(results), output, markdown)
    say(f"wrote {output}" + (f" and {markdown}" if markdown else ""))


@app.command("run")
def run(
    table: Annotated[str, typer.Argument(help="table2 to table6, or all.")] = "all",
    data: Annotated[str, typer.Option(help="A data set, as `shufflenet train` takes it.")] = "imagenet",
    recipe: Annotated[Path, typer.Option(help="The recipe of all rows; its name is the experiment's.")] = Path(
        "experiments/imagenet.yaml"
    ),
    stem: Annotated[
        Literal["imagenet", "small"], typer.Option(help="small is for pictures of 28–64 pixels.")
    ] = "imagenet",
    seeds: Annotated[int, typer.Option(min=1, help="How often to train each row: seeds 0, 1, ….")] = 3,
    rows: Annotated[
        list[str] | None, typer.Option(help="Only rows of this name, * and ? allowed; may be repeated.")
    ] = None,
    results: ResultsFolder = RESULTS,
    runs: Annotated[Path, typer.Option(help="The folder for checkpoints.")] = Path("runs/paper"),
    cluster: Annotated[
        str | None, typer.Option(help="One submitit job a row: slurm, or local for processes of this machine.")
    ] = None,
    cluster_parameters: Annotated[
        list[str] | None, typer.Option("--job", help="name=value for submitit, such as gpus_per_node=8.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the rows' results as JSON at the end.")] = False,
) -> None:
    """Train a table's networks, all by one recipe, and keep their errors as result files.

    What has a result is passed over, and a run that was stopped goes on where it was: give the same command again.

    Examples:

      shufflenet paper run table2 --data /data/imagenet --recipe experiments/imagenet.yaml --cluster slurm --job gpus_per_node=8

      shufflenet paper run table3 --data fashion-mnist --recipe experiments/fashion-mnist.yaml --stem small --rows '*x0_25*'
    """
    from shufflenet.cli.options import parse_paper_table
    from shufflenet.cli.terminal import print_json, say
    from shufflenet.paper.run import Experiment, read_record, run_here, run_jobs, select_rows
    from shufflenet.training.recipe import parse_setting

    experiment = Experiment(recipe, data, stem, results, runs)
    chosen = select_rows(parse_paper_table(table), rows or [])
    if cluster:
        parameters: dict[str, object] = {}
        for text in cluster_parameters or []:
            parameters |= parse_setting(text)
        jobs = run_jobs(experiment, chosen, range(seeds), cluster=cluster, parameters=parameters)
        say(f"{len(jobs)} jobs of {len(chosen)} rows: {', '.join(job.job_id for job in jobs) or 'all are done'}")
        if cluster == "local":
            for job in jobs:
                job.result()
    elif not run_here(experiment, chosen, range(seeds), (lambda _: None) if json else say):
        say("stopped; the same command goes on from here")
        return
    if json:
        print_json([read_record(experiment, variant) for variant in chosen])
