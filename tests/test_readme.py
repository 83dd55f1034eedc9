"""The READMEs say what the code and the measurements say."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRITER = runpy.run_path(str(ROOT / "docs" / "readme" / "write.py"))


@pytest.mark.parametrize("name", WRITER["READMES"])
def test_a_readme_is_what_its_template_gives(name):
    assert (ROOT / name).read_text(encoding="utf-8") == WRITER["render"](name), "run `make readme`"


@pytest.mark.parametrize("name", WRITER["READMES"])
def test_the_two_commands_come_on_the_first_screen(name):
    first_screen = (ROOT / name).read_text(encoding="utf-8").splitlines()[:25]
    assert any(line.startswith("make quickstart") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)


def test_each_readme_links_the_other():
    assert "(README.zh-CN.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(README.md)" in (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
