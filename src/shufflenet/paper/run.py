"""Measure a table's error column: every row trained by one recipe on one data set, once a seed, and what came out kept as JSON."""

import hashlib
import json
import shlex
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from shufflenet.atomic import write_text
from shufflenet.data import open_dataset
from shufflenet.data.open import Split
from shufflenet.data.small import decode_small
from shufflenet.errors import UserError
from shufflenet.nets import cost
from shufflenet.nets.shufflenet import StemKind
from shufflenet.paper import published
from shufflenet.paper.results import CLASSIFICATION
from shufflenet.paper.tables import canonical
from shufflenet.training import read_recipe, train
from shufflenet.training.defaults import choose
from shufflenet.training.loop import make_accelerator
from shufflenet.training.recipe import to_dict

SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True)
class Experiment:
    """What all rows share. `recipe_file` names it: its results are in `results`/classification/NAME, its checkpoints below `runs`."""

    recipe_file: Path
    data: str
    stem: StemKind = "imagenet"
    results: Path = Path("experiments/results")
    runs: Path = Path("runs/paper")

    @property
    def name(self) -> str:
        return self.recipe_file.stem

    def result_file(self, variant: str) -> Path:
        return self.results / CLASSIFICATION / self.name / f"{variant}.json"

    def settings(self) -> dict[str, Any]:
        """What decides a row's result besides its network and seed: a result with other settings is another experiment's."""
        values = to_dict(read_recipe(self.recipe_file))
        del values["seed"]
        return {"data": self.data, "stem": self.stem, "recipe": values}

    def run_folder(self, variant: str, seed: int) -> Path:
        # The settings are in the path: after a change of recipe no old checkpoint is taken up.
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()
        return self.runs / f"{self.name}-{digest[:8]}" / variant / f"seed{seed}"

    def command(self, variant: str, seeds: int) -> str:
        """What repeats a row."""
        options = {
            "recipe": self.recipe_file.as_posix(),
            "data": self.data,
            "stem": self.stem,
            "rows": variant,
            "seeds": seeds,
        }
        return "shufflenet paper run " + " ".join(
            f"--{name} {shlex.quote(str(value))}" for name, value in options.items()
        )


def rows_of(table: int | None) -> tuple[str, ...]:
    """The networks with an error in a table, or in any (None), in the paper's order; one that stands in two rows is named once."""

    def names() -> Iterator[str]:
        for number, blocks in published.BLOCKS.items():
            if table in (None, number):
                yield from (row.variant for block in blocks for row in block)
        if table in (None, 3):
            for row in published.TABLE3:
                yield from (f"{row.variant}_noshuffle", row.variant)

    if table not in (None, 2, 3, 4, 5, 6):
        raise UserError(f"table {table} has no error column that training fills; give 2, 3, 4, 5 or 6")
    return tuple(dict.fromkeys(map(canonical, names())))


def select_rows(table: int | None, patterns: Sequence[str]) -> tuple[str, ...]:
    """The rows of a table that match any of the shell-style patterns; all without one. Raises UserError for a pattern that matches none."""
    rows = rows_of(table)
    if not patterns:
        return rows
    for pattern in patterns:
        if not any(fnmatchcase(row, pattern) for row in rows):
            raise UserError(f"no row is called {pattern!r}; they are {', '.join(rows)}")
    # In the order of the patterns: what matters most is measured first.
    return tuple(dict.fromkeys(row for pattern in patterns for row in rows if fnmatchcase(row, pattern)))


def read_record(experiment: Experiment, variant: str) -> dict[str, Any] | None:
    """What is known of a row. Raises UserError if it was measured with other settings: means over two recipes mean nothing."""
    path = experiment.result_file(variant)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        settings = {key: record[key] for key in ("data", "stem", "recipe")}
    except (ValueError, KeyError) as error:
        raise UserError(f"result {path} is damaged ({error!r}); restore or remove it") from error
    if settings != experiment.settings():
        raise UserError(
            f"{path} was measured with another recipe, data set or stem; remove it, or give the recipe file another name"
        )
    return record


def is_done(experiment: Experiment, variant: str, seed: int) -> bool:
    record = read_record(experiment, variant)
    return record is not None and any(run["seed"] == seed for run in record["runs"])


def run_row(experiment: Experiment, variant: str, seed: int) -> dict[str, Any] | None:
    """Train and test one network with one seed, from its last checkpoint if there is one, and add it to the row's result file.

    Returns the run's record; None if a signal ended it early (the same call goes on). Under `accelerate launch` all processes call it.
    """
    opened = [open_dataset(experiment.data, split) for split in SPLITS]
    choice = choose(opened[0], recipe=str(experiment.recipe_file), stem=experiment.stem)
    training_set, test_set = (decode_small(part, choice.preprocessing.size) for part in opened)
    recipe = replace(read_recipe(experiment.recipe_file), seed=seed)
    accelerator = make_accelerator(recipe)
    training = train(
        recipe,
        training_set,
        test_set,
        variant,
        experiment.run_folder(variant, seed),
        stem=experiment.stem,
        preprocessing=choice.preprocessing,
        resume=True,
        accelerator=accelerator,
    )
    if not training.finished:
        return None
    record = training.record
    run = {
        "seed": seed,
        "top1_error": round(record["top1_error"], 4),
        **({"top5_error": round(record["top5_error"], 4)} if "top5_error" in record else {}),
        "images_per_second": round(record["images_per_second"], 1),
        "training_seconds": round(record["training_seconds"], 1),
        "host": host(record["environment"]),
        "commit": record["environment"]["commit"] or f"version {record['environment']['shufflenet']}",
        "torch": record["environment"]["torch"],
        "date": record["finished"][:10],
    }
    if accelerator.is_main_process:
        counted = cost(training.net.cpu(), choice.preprocessing.size)
        about = {
            "variant": variant,
            **experiment.settings(),
            "recipe_file": experiment.recipe_file.as_posix(),
            "training_pictures": len(training_set),
            "test_pictures": len(test_set),
            "batch_size": recipe.batch_size,
            "iterations": record["iterations"],
            "epochs": round(record["epochs"], 3),
            "size": list(choice.preprocessing.size),
            "multiply_adds": counted.multiply_adds,
            "parameters": counted.parameters,
        }
        write_run(experiment, about, run)
    return run


def host(environment: Mapping[str, Any]) -> str:
    """The machine's kind, not its name."""
    threads = environment["threads"]
    processor = f"{environment['processor']} ({torch.backends.cpu.get_cpu_capability()})"
    return (
        environment["accelerator"]
        or f"{processor}, {environment['cores']} cores, {threads} thread{'s' * (threads > 1)}"
    )


def write_run(experiment: Experiment, about: dict[str, Any], run: dict[str, Any]) -> None:
    """Add a run to its row's file, with the mean and deviation of the runs so far."""
    former = read_record(experiment, about["variant"])
    others = [other for other in (former["runs"] if former else []) if other["seed"] != run["seed"]]
    runs = sorted([*others, run], key=lambda run: run["seed"])
    errors = [run["top1_error"] for run in runs]
    record = {
        **about,
        "command": experiment.command(about["variant"], seeds=max(run["seed"] for run in runs) + 1),
        "top1_error": {
            "mean": round(statistics.fmean(errors), 4),
            "deviation": round(statistics.stdev(errors), 4) if len(errors) > 1 else None,
            "n": len(errors),
        },
        "runs": runs,
    }
    write_text(experiment.result_file(about["variant"]), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def run_here(experiment: Experiment, rows: Sequence[str], seeds: Iterable[int], say: Callable[[str], None]) -> bool:
    """Every row with every seed that is not done yet, seeds outermost: a whole table with few seeds comes first. False if stopped early."""
    for seed in seeds:
        for variant in rows:
            if is_done(experiment, variant, seed):
                say(f"{variant}, seed {seed}: done before")
                continue
            run = run_row(experiment, variant, seed)
            if run is None:
                return False
            say(f"{variant}, seed {seed}: {run['top1_error']:.2f}% error, {run['images_per_second']:.0f} images/s")
    return True


def run_row_here(experiment: Experiment, variant: str, seeds: Sequence[int]) -> bool:
    """One row with its seeds, as one job of a cluster."""
    return run_here(experiment, [variant], seeds, print)


def run_jobs(
    experiment: Experiment, rows: Sequence[str], seeds: Sequence[int], *, cluster: str, parameters: dict[str, Any]
) -> list[Any]:
    """One submitit job a row, on Slurm or as processes of this machine ("local"); `parameters` go to `AutoExecutor.update_parameters`.

    Returns the jobs. No two write one file, since a row is one job. Raises UserError without the extra `cluster`.
    """
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise UserError("spreading rows over a cluster needs submitit; pip install 'shufflenet[cluster]'") from error
    executor = AutoExecutor(experiment.runs / "jobs", cluster=cluster)
    executor.update_parameters(**{"timeout_min": 24 * 60, "name": f"paper-{experiment.name}", **parameters})
    waiting = [variant for variant in rows if not all(is_done(experiment, variant, seed) for seed in seeds)]
    if not waiting:  # submitit warns of a batch without jobs
        return []
    with executor.batch():
        return [executor.submit(run_row_here, experiment, variant, seeds) for variant in waiting]
