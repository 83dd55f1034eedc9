"""Which of the paper's claims show in what was measured: every comparison that its tables make, judged by a paired test over seeds."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from scipy.special import stdtr, stdtrit

from shufflenet.paper import published
from shufflenet.paper.results import ExperimentResults, Results
from shufflenet.paper.tables import errors_of
from shufflenet.paper.view import NOT_RUN

SHOWS, REVERSED, WITHIN, UNKNOWN = "shows", "the reverse shows", "within the seeds' spread", "one seed, spread unknown"
VERDICTS = (SHOWS, WITHIN, REVERSED, UNKNOWN, NOT_RUN)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Claim:
    """The paper prints a lower error for `better` than for `worse`, by `difference` points. Labels and variants of the two."""

    table: int
    subject: str
    better: tuple[str, str]
    worse: tuple[str, str]
    difference: float


@dataclass(frozen=True)
class PairedDifference:
    """The mean of differences between pairs, the confidence interval around it, and how often chance alone gives one as far from 0.

    Student's t for paired samples. A run of two networks with one seed is a pair: it sees the same pictures in the same order.
    """

    mean: float
    interval: tuple[float, float]
    probability: float


@dataclass(frozen=True)
class Judgement:
    """A claim on the data of an experiment. `difference` and its `interval` are in points of error; None where no two seeds are shared."""

    claim: Claim
    experiment: str
    verdict: str
    seeds: int = 0
    difference: float | None = None
    interval: tuple[float, float] | None = None
    probability: float | None = None


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


def paired_difference(differences: Sequence[float]) -> PairedDifference:
    """What two or more paired differences say of their mean."""
    degrees = len(differences) - 1
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / sqrt(len(differences))
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    # Differences that are all alike leave no room for chance, unless they are 0.
    probability = 2 * float(stdtr(degrees, -abs(mean) / error)) if error else float(mean == 0)
    return PairedDifference(mean, (mean - half, mean + half), probability)


def judge(claim: Claim, experiment: ExperimentResults) -> Judgement:
    """A claim shows where the whole confidence interval of the difference lies on its side of 0. Seeds that both networks ran count."""
    better, worse = errors_of(experiment, claim.better[1]), errors_of(experiment, claim.worse[1])
    shared = sorted(better.by_seed.keys() & worse.by_seed.keys()) if better and worse else []
    if better is None or worse is None or not shared:
        return Judgement(claim, experiment.name, NOT_RUN)
    differences = [worse.by_seed[seed] - better.by_seed[seed] for seed in shared]
    if len(shared) == 1:
        return Judgement(claim, experiment.name, UNKNOWN, 1, differences[0])
    found = paired_difference(differences)
    low, high = found.interval
    verdict = SHOWS if low > 0 else REVERSED if high < 0 else WITHIN
    return Judgement(claim, experiment.name, verdict, len(shared), found.mean, found.interval, found.probability)


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
