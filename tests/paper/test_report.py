"""The report: figures from the two sources only, verdicts that follow from the seeds, and nothing fetched from elsewhere."""

import json
import re
from dataclasses import asdict, is_dataclass
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from shufflenet.nets import variants
from shufflenet.paper import published
from shufflenet.paper.claims import (
    CONFIDENCE,
    REVERSED,
    SHOWS,
    UNKNOWN,
    WITHIN,
    claims,
    judgements,
    paired_difference,
)
from shufflenet.paper.report import contents, make_plots, to_html, to_markdown, write_report
from shufflenet.paper.results import ExperimentResults, Results, read_results
from shufflenet.paper.tables import counted, table

ROOT = Path(__file__).parents[2]
MEASURED = {
    "shufflenet_x0_25_g1": [16.11, 16.52, 16.33],
    "shufflenet_x0_25_g3": [15.71, 15.92, 15.83],
    "shufflenet_x0_25_g3_noshuffle": [15.61, 16.02, 15.73],
    "shufflenet_x0_25_g8": [14.01, 14.45, 14.23],
    "shufflenet_x0_25_g8_noshuffle": [13.07, 13.18, 13.29],
    "resnet_like_13m": [19.44],
}


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def leaves(value):
    """Every number and text in nested data, keys too."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(key)
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def as_written(values) -> set[str]:
    """Numbers as a table may write them: with none, one or two decimals; and those inside labels."""
    found = set()
    for value in values:
        if isinstance(value, str):
            found |= numbers(value)
        elif isinstance(value, int | float):
            found |= {f"{abs(value):.{digits}f}" for digits in (0, 1, 2)} | {str(value)}
    return found


def sources(folder: Path) -> set[str]:
    """Every number that the two sources hold, or that follows from them by the steps the report names."""
    printed = [getattr(published, name) for name in dir(published) if name.isupper()]
    records = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    known = as_written(leaves(printed)) | as_written(leaves(records))
    known |= {f"{counted(name) / 1e6:.1f}" for name in variants()}
    known |= as_written(published.NOTES.values())
    times = [row.milliseconds[published.SIZES[0]] for row in published.TABLE8]
    complexities = [row.multiply_adds for row in published.TABLE8]
    known |= {f"{one / other:.1f}" for series in (times, complexities) for one in series for other in series}
    errors = [error for name in variants() if (error := published.printed(name).error) is not None]
    known |= {f"{abs(one - other):.1f}" for one in errors for other in errors}
    runs = {}
    for record in records:
        by_seed = {run["seed"]: run["top1_error"] for run in record["runs"]}
        runs[record["variant"]] = by_seed
        errors = list(by_seed.values())
        known |= as_written([np.mean(errors), np.std(errors, ddof=1) if len(errors) > 1 else 0.0])
    for one in runs.values():
        for other in runs.values():
            seeds = sorted(one.keys() & other.keys())
            pair = [one[seed] for seed in seeds], [other[seed] for seed in seeds]
            known |= as_written([np.mean(pair[0]) - np.mean(pair[1])]) if seeds else set()
            if one is not other and len(seeds) > 1:
                test = ttest_rel(*pair)
                known |= as_written(test.confidence_interval()) | {f"{test.pvalue:.3f}"}
    return known


def shown_text(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>", " ", html)))


def test_no_number_is_in_neither_source(write_results):
    folder = write_results(MEASURED)
    results = read_results(folder)
    for text in (shown_text(to_html(results, [])), to_markdown(results, [])):
        assert numbers(text) - sources(folder) <= {"95", "1707.01083"}  # the interval, and the paper's address


def test_the_committed_page_is_up_to_date():
    """After a run or a bench: shufflenet paper report --markdown docs/paper.md"""
    folder = ROOT / "experiments" / "results"
    results = read_results(folder)
    page = (ROOT / "docs" / "paper.md").read_text()
    assert page == to_markdown(results, make_plots(results))


def test_a_changed_result_changes_the_report_and_a_missing_one_says_not_run(write_results, tmp_path):
    before = to_markdown(read_results(write_results(MEASURED)), [])
    after = to_markdown(read_results(write_results({"shufflenet_x0_25_g8": [11.98, 12.0, 12.02]})), [])
    assert "12.00 ± 0.02" in after
    assert "12.00 ± 0.02" not in before
    empty = read_results(tmp_path / "nothing")
    for number in (2, 4, 5, 6):
        assert all(row[-1] == "not run" for block in table(number, empty).written() for row in block)
    assert "No comparison was run." in to_markdown(empty, [])


def test_xception_like_is_measured_as_shufflenet_with_one_group(write_results):
    view = table(4, read_results(write_results(MEASURED)))
    row = next(row for row in view.written()[2] if row[0] == "Xception-like")
    assert row[-1] == "16.32 ± 0.21"


def test_verdicts_follow_from_pairs_of_seeds(write_results):
    judged = {
        (item.claim.better[1], item.claim.worse[1]): item for item in judgements(read_results(write_results(MEASURED)))
    }
    shows = judged["shufflenet_x0_25_g8", "shufflenet_x0_25_g1"]
    assert (shows.verdict, round(shows.difference, 2), shows.seeds) == (SHOWS, 2.09, 3)
    assert judged["shufflenet_x0_25_g3", "shufflenet_x0_25_g3_noshuffle"].verdict == WITHIN
    assert judged["shufflenet_x0_25_g8", "shufflenet_x0_25_g8_noshuffle"].verdict == REVERSED
    assert judged["shufflenet_x0_25_g8", "resnet_like_13m"].verdict == UNKNOWN
    assert not any("x1_0" in name for pair in judged for name in pair)


def test_only_seeds_that_both_networks_ran_make_pairs():
    rows = {"shufflenet_x0_25_g1": {0: 26.0, 1: 27.0, 5: 90.0}, "shufflenet_x0_25_g3": {0: 25.0, 1: 26.2, 2: 10.0}}
    records = tuple(
        {"variant": name, "multiply_adds": 1, "runs": [{"seed": s, "top1_error": e} for s, e in by_seed.items()]}
        for name, by_seed in rows.items()
    )
    (judged,) = judgements(Results((ExperimentResults("made-up", records),)))
    assert (judged.seeds, round(judged.difference, 2)) == (2, 0.9)


@given(st.lists(st.integers(-500, 500).map(lambda x: x / 100), min_size=2, max_size=12))
def test_the_paired_test_is_students(differences):
    found = paired_difference(differences)
    if len(set(differences)) == 1:
        assert found.interval == (found.mean, found.mean)
        assert found.probability == float(differences[0] == 0)
        return
    expected = ttest_rel(differences, [0.0] * len(differences))
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(CONFIDENCE)), abs=1e-9)
    assert found.probability == pytest.approx(expected.pvalue, abs=1e-9)


def test_a_claim_is_the_order_that_the_paper_prints():
    printed = {name: published.printed(name).error for name in variants()}
    everything = list(claims())
    assert len(everything) == 12 + 6 + 10 + 6  # Table 4's VGG-like at 38M has no error
    for claim in everything:
        assert printed[claim.better[1]] < printed[claim.worse[1]]
        assert round(printed[claim.worse[1]] - printed[claim.better[1]], 1) == round(claim.difference, 1)


def test_the_page_stands_alone_and_its_plots_are_well_formed(write_results, tmp_path):
    results = read_results(write_results(MEASURED))
    page, markdown = tmp_path / "out" / "paper.html", tmp_path / "docs" / "paper.md"
    write_report(results, page, markdown)
    html = page.read_text()
    assert not re.search(r"<(?:script|link|img|iframe)|url\(|@import", re.sub(r"url\(#", "", html))
    assert set(re.findall(r'(?:src|href)="(http[^"]*)"', html)) <= {"https://arxiv.org/abs/1707.01083"}
    assert html.count("<svg") == len(make_plots(results)) == 5
    for path in re.findall(r"\]\(([^)]*\.svg)\)", markdown.read_text()):
        ElementTree.parse(markdown.parent / path)
    for record in contents(results)["experiments"][0]["rows"]:
        assert record["command"] in html
    first = html
    write_report(results, page, markdown)
    assert page.read_text() == first


@pytest.mark.parametrize("content", ["{", ""])
def test_a_damaged_result_is_named(write_results, content):
    from shufflenet.errors import UserError

    folder = write_results(MEASURED)
    damaged = folder / "classification" / "made-up" / "resnet_like_13m.json"
    damaged.write_text(content)
    with pytest.raises(UserError, match=str(damaged)):
        read_results(folder)
