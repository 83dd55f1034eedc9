"""What several verbs read from the command line in the same way."""

import re

from shufflenet.errors import UserError


def parse_size(text: str) -> tuple[int, int]:
    """ "480x640" → (480, 640), height first; "224" → (224, 224). Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip())
    if not match or int(match[1]) == 0 or match[2] == "0":
        raise UserError(f"{text!r} is no picture size; give height and width in pixels, such as 224x224")
    return int(match[1]), int(match[2] or match[1])


def parse_paper_table(text: str) -> int | None:
    """ "table2" or "2" → 2; "all" → None. Raises UserError for anything else."""
    if text == "all":
        return None
    match = re.fullmatch(r"(?:table)?(\d+)", text.strip())
    if not match:
        raise UserError(f"{text!r} is no table of the paper; give table2, table3, table4, table5, table6 or all")
    return int(match[1])
