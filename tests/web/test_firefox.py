"""The page in Debian's Firefox ESR."""

import json
import subprocess
from pathlib import Path

from .results import assert_same_boxes, assert_same_classes

SCRIPT = Path(__file__).with_name("firefox.mjs")


def visit(address, sample, threshold=50):
    done = subprocess.run(
        ["node", SCRIPT, address, str(sample), str(threshold)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["messages"] == []
    assert shown["errors"] == ""
    return [(None, shown["rows"])]


def test_it_classifies_as_predict_does(site):
    here = site("classifier")
    assert_same_classes(visit(here.address, 5), here.model, [here.samples[5]])


def test_it_draws_the_boxes_of_detect_predict(site):
    here = site("detector")
    assert_same_boxes(visit(here.address, 1, threshold=10), here.model, [here.samples[1]], 0.1)


def test_one_file_from_disk_works(site):
    here = site("classifier")
    assert_same_classes(visit(here.single_file.as_uri(), 3), here.model, [here.samples[3]])
