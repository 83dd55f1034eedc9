"""The README's table is what the code says."""

import re
from pathlib import Path

import torch

from shufflenet.checkpoints import load
from shufflenet.checkpoints.hub import shipped
from shufflenet.nets import cost, create, variants

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_table_of_variants_is_counted_and_printed_as_it_says():
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+)M \| ([\d,]+) \| ([\d.]+)% \| (?:([\d.]+)%|–) \|$", README, re.MULTILINE)
    assert len(rows) >= 8
    trained = {name.partition("/")[2]: load(name).metadata.training for name in shipped()}
    for name, multiply_adds, parameters, error, shipped_error in rows:
        with torch.device("meta"):
            counted = cost(create(name))
        assert f"{counted.multiply_adds / 1e6:.1f}" == multiply_adds
        assert f"{counted.parameters:,}" == parameters
        assert variants()[name].printed_error == float(error)
        assert shipped_error == (f"{trained[name]['top1_error']:.1f}" if name in trained else "")


def test_the_two_commands_come_on_the_first_screen():
    first_screen = README.splitlines()[:25]
    assert any(line.startswith("make quickstart") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)
