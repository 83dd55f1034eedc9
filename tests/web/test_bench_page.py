"""bench.html: ours alone, and beside the real onnxruntime-web."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import ready

DIST = Path(__file__).with_name("node_modules") / "onnxruntime-web" / "dist"
FILES = [DIST / "ort.wasm.bundle.min.mjs", DIST / "ort-wasm-simd-threaded.wasm"]


def report(page):
    return json.loads(page.get_attribute("body", "data-report"))


@pytest.mark.parametrize("name", ["classifier", "detector"])
def test_both_run_on_the_same_picture_and_agree(page, site, axe, name):
    here = site(name)
    ready(page, f"{here.address}bench.html")
    expect(page.locator("#verdict")).to_have_text("onnxruntime-web has not been dropped yet.")
    assert report(page)["compiled"]["median"] > 0
    page.set_input_files("#files", [*FILES, here.samples[0]])
    expect(page.locator("#verdict")).to_contain_text("times as fast", timeout=30_000)
    found = report(page)
    assert found["apart"] < 5e-3  # the weights are float16 here, and float32 there
    assert found["ratio"] == pytest.approx(found["onnxruntime-web"]["median"] / found["compiled"]["median"])
    expect(page.locator("tbody tr")).to_have_count(2)
    assert axe(page) == []


def test_other_files_are_refused(page, site, tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    ready(page, f"{site('classifier').address}bench.html")
    page.set_input_files("#files", [tmp_path / "notes.txt", FILES[0]])
    expect(page.locator("#errors")).to_contain_text("drop both files together")
