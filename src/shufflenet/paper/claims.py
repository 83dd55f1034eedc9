"""Which of the paper's claims show in what was measured: every comparison that its tables make, judged by the seeds' spread."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any

from shufflenet.paper import published
from shufflenet.paper.results import Errors, ExperimentResults, Results
from shufflenet.paper.tables import errors_of
from shufflenet.paper.view import NOT_RUN

SHOWS, REVERSED, WITHIN, UNKNOWN = "shows", "the reverse shows", "within the seeds' spread", "one seed, spread unknown"
VERDICTS = (SHOWS, WITHIN, REVERSED, UNKNOWN, NOT_RUN)


@dataclass(frozen=True)
class Claim:
    """The paper prints a lower error for `better` than for `worse`, by `difference` points. Labels and variants of the two."""

    table: int
    subject: str
    better: tuple[str, str]
    worse: tuple[str, str]
    difference: float


@dataclass(frozen=True)
class Judgement:
    """A claim on the data of an experiment. `difference` is of the seeds' means, `uncertainty` its standard error, in points."""

    claim: Claim
    experiment: str
    verdict: str
    difference: float | None = None
    uncertainty: float | None = None
    chance: float | None = None  # of runs that do not overlap in this direction if the two networks were equally good


def claims() -> Iterator[Claim]:
    """The comparisons of Tables 2 to 5, each in the direction in which the paper's errors differ."""

    def ordered(table: int, subject: str, one: published.PrintedRow, other: published.PrintedRow) -> Iterator[Claim]:
        if one.error is not None and other.error is not None and one.error != other.error:
            better, worse = sorted((one, other), key=lambda row: row.error or 0)
            labels = (better.label, better.variant), (worse.label, worse.variant)
            yield Claim(table, subject, *labels, abs(one.error - other.error))

    for block in published.TABLE2:
        for row in block[1:]:
            yield from ordered(2, "grouped convolution helps", row, block[0])
    for row in published.TABLE3:
        names = (f"{row.label} with shuffle", row.variant), (f"{row.label} without", f"{row.variant}_noshuffle")
        yield Claim(3, "channel shuffle helps", *names, row.difference)
    for block in published.TABLE4:
        for rival in block[:-1]:
            yield from ordered(4, "ShuffleNet's unit is the best", block[-1], rival)
    for block in published.TABLE5:
        for row in block[1:]:
            yield from ordered(5, "ShuffleNet beats MobileNet", row, block[0])


def judge(claim: Claim, experiment: ExperimentResults) -> Judgement:
    """A claim shows where every run of the better network beats every run of the other: the seeds' ranges do not touch."""
    better, worse = errors_of(experiment, claim.better[1]), errors_of(experiment, claim.worse[1])
    if better is None or worse is None:
        return Judgement(claim, experiment.name, NOT_RUN)
    difference = worse.mean - better.mean
    if better.deviation is None or worse.deviation is None:
        return Judgement(claim, experiment.name, UNKNOWN, difference)
    uncertainty = sqrt(better.deviation**2 / len(better.by_seed) + worse.deviation**2 / len(worse.by_seed))
    chance = 1 / comb(len(better.by_seed) + len(worse.by_seed), len(better.by_seed))
    verdict = SHOWS if _all_below(better, worse) else REVERSED if _all_below(worse, better) else WITHIN
    return Judgement(claim, experiment.name, verdict, difference, uncertainty, chance)


def _all_below(one: Errors, other: Errors) -> bool:
    return max(one.by_seed.values()) < min(other.by_seed.values())


def judgements(results: Results) -> list[Judgement]:
    """Every claim on every experiment that holds both of its networks."""
    everything = [judge(claim, experiment) for experiment in results.experiments for claim in claims()]
    return [judgement for judgement in everything if judgement.verdict != NOT_RUN]


def tally(judged: list[Judgement]) -> list[dict[str, Any]]:
    """For each experiment and subject, in the tables' order: how many comparisons have which verdict."""
    counts: dict[tuple[str, int, str], dict[str, int]] = {}
    for judgement in judged:
        key = (judgement.experiment, judgement.claim.table, judgement.claim.subject)
        verdicts = counts.setdefault(key, {})
        verdicts[judgement.verdict] = verdicts.get(judgement.verdict, 0) + 1
    return [
        {"experiment": experiment, "table": table, "subject": subject, "verdicts": verdicts}
        for (experiment, table, subject), verdicts in counts.items()
    ]
