"""Text files that people write, in the encodings that their programs save: label lists, recipes, configs, annotations."""

import codecs
from pathlib import Path

from shufflenet.errors import UserError

# The longer marks first, since UTF-16's begins UTF-32's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """A text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Raises UserError, with the place, for any other encoding."""
    data = path.read_bytes()
    encoding = next((encoding for mark, encoding in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} is not {encoding.removesuffix('-sig').upper()}: line {line} has the byte 0x{data[error.start]:02X}, "
            "as Latin-1 or another old encoding writes letters; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise UserError(f"{path} looks like UTF-16 without a byte order mark; save it as UTF-8")
    return text


def read_names(path: Path) -> list[str]:
    """One name a line. Empty lines at the end do not count. Raises UserError for one in between, which would shift the numbers."""
    names = [line.strip() for line in read_text(path).splitlines()]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise UserError(f"{path} has an empty line {names.index('') + 1}; each line names a class")
    return names


def is_unicode(name: str) -> bool:
    """Whether a name, such as the file system gave it, can be written as UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
