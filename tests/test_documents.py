"""The documents: links lead somewhere. `make docs` checks anchors and the reference."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name):
    document = ROOT / name
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file = (document.parent / target).resolve()
        assert file.exists(), target
        # The site holds docs/ alone.
        assert document.parent != ROOT / "docs" or file.is_relative_to(ROOT / "docs"), target
