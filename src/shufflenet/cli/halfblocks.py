"""A picture in the terminal: each character shows two pixels, one above the other."""

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

UPPER_HALF = "▀"


def half_blocks(picture: Image.Image, columns: int = 28) -> Text:
    """The picture, `columns` characters wide, in its colours (rich falls back to what the terminal can show)."""
    rows = max(2, round(picture.height * columns / picture.width / 2) * 2)
    pixels = np.asarray(picture.convert("RGB").resize((columns, rows)))
    text = Text(no_wrap=True, end="")
    for row in range(0, rows, 2):
        for column in range(columns):
            upper, lower = (Color.from_rgb(*pixels[row + half, column].tolist()) for half in (0, 1))
            text.append(UPPER_HALF, Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text
