"""Every verb of the Makefile is run somewhere, so that none of them rots."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)

RUN_ELSEWHERE = {
    "help": "test_help_shows_every_verb, below",
    "test-export": "installs 8 GB of converters, too much for each change; docs/deploy.md says when it was last run",
}


def test_continuous_integration_runs_every_verb():
    commands = re.findall(
        r"^(?:[A-Z_]+=\S+ )*make (.*)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE
    )
    run = {verb for command in commands for verb in command.split()}
    assert run | set(RUN_ELSEWHERE) == set(VERBS)


def test_no_verb_is_taken_for_a_file():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == set(VERBS)


def test_help_shows_every_verb():
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == VERBS
