"""What was measured here: the files below experiments/results, read once into frozen records."""

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shufflenet.errors import UserError

CLASSIFICATION, DETECTION, SPEED = "classification", "detection", "table8"
IMAGENET = "imagenet"  # the experiment of experiments/imagenet.yaml


@dataclass(frozen=True)
class Errors:
    """Top-1 errors in % of one network, trained once a seed by one recipe on one data set."""

    variant: str
    multiply_adds: int  # at the pictures' own size
    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """The seeds' standard deviation; None for a single seed."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class ExperimentResults:
    """One recipe on one data set, the same for all of its networks. `records` are the result files as they are."""

    name: str
    records: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        return "ImageNet" if self.name == IMAGENET else self.name

    def errors(self, variant: str) -> Errors | None:
        for record in self.records:
            if record["variant"] == variant:
                by_seed = {run["seed"]: run["top1_error"] for run in record["runs"]}
                return Errors(variant, record["multiply_adds"], by_seed)
        return None


@dataclass(frozen=True)
class Results:
    """Everything measured: experiments by name, detection runs, and Table 8's bench of this machine, if it was run."""

    experiments: tuple[ExperimentResults, ...] = ()
    detection: tuple[Mapping[str, Any], ...] = ()
    speed: Mapping[str, Any] | None = None


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"result {path} cannot be read ({error}); restore it, or remove it and run its row again"
            ) from error


def read_results(folder: Path) -> Results:
    """The results below `folder`; what is not there was not run. Raises UserError for a damaged file."""
    classification = folder / CLASSIFICATION
    names = {path.name for path in classification.iterdir() if path.is_dir()} if classification.is_dir() else set()
    # The paper's own data leads, run or not.
    ordered = [IMAGENET, *sorted(names - {IMAGENET})]
    return Results(
        experiments=tuple(ExperimentResults(name, tuple(_records(classification / name))) for name in ordered),
        detection=tuple(_records(folder / DETECTION)),
        speed=next(_records(folder / SPEED), None),
    )
