"""What all tests share: a fixed hypothesis profile, few threads, and skips that fail where REQUIRE_ALL_TESTS is set."""

import os

import hypothesis
import pytest
import torch

os.environ["COLUMNS"] = "160"  # rich's one console takes its width from whichever test comes first
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")
torch.set_num_threads(1)  # the suite runs one process a core


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/compiler/c/golden anew, to be read and committed"
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failure: what was to be shown was not."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("REQUIRE_ALL_TESTS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and REQUIRE_ALL_TESTS is set: {report.longrepr}"
