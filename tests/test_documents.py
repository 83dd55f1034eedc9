"""The documents: links lead somewhere, lines wrap. `make docs` checks anchors and the reference."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COLUMNS = 100
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name):
    document = ROOT / name
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        # `make docs` writes docs/live, and its strict build checks that.
        if "://" in target or target.startswith("live/"):
            continue
        file = (document.parent / target).resolve()
        assert file.exists(), target
        # The site holds docs/ alone.
        assert document.parent != ROOT / "docs" or file.is_relative_to(ROOT / "docs"), target


def prose(text):
    """The numbered lines of a document that can be wrapped: no code, table, heading, HTML or picture, and more than one word."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "#", "![", "<", "    ")) and " " in line.strip():
            yield number, line


@pytest.mark.parametrize("name", DOCUMENTS)
def test_prose_wraps(name):
    lines = prose((ROOT / name).read_text(encoding="utf-8"))
    assert not [f"{name}:{number}" for number, line in lines if len(line) > COLUMNS]
