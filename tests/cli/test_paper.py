"""`shufflenet paper` from the outside."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from shufflenet.cli.paper import app


@pytest.mark.parametrize("number", range(1, 9))
def test_every_table_prints_as_text_and_as_json(number, tmp_path):
    runner = CliRunner()
    options = ["table", str(number), "--results", str(tmp_path)]
    text = runner.invoke(app, options)
    assert text.exit_code == 0, text.output
    assert f"Table {number}." in text.output
    record = json.loads(runner.invoke(app, [*options, "--json"]).output)
    assert record["table"] == number
    assert record["rows"]


def test_a_table_that_the_paper_has_not_is_one_sentence():
    start = "from shufflenet.cli import main; main()"
    process = subprocess.run([sys.executable, "-c", start, "paper", "table", "9"], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.strip() == "error: the paper has no table 9; give 1 to 8"


def test_report_writes_both_pages(tmp_path):
    page, markdown = tmp_path / "paper.html", tmp_path / "docs" / "paper.md"
    options = ["report", "-o", str(page), "--markdown", str(markdown), "--results", str(tmp_path)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert page.read_text().startswith("<!doctype html>")
    assert "## Table 8." in markdown.read_text()
