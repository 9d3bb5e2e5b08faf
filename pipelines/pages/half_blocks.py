"""Pictures in a terminal: half blocks, two pixels of a column in one character."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from rich.text import Text


def half_blocks(encoded: bytes, columns: int) -> Text:
    """A picture in colours, so many characters wide.

    Args:
        encoded: a picture that Pillow can read.
    """
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    rows = max(1, round(picture.height * columns / picture.width / 2))
    pixels = np.asarray(picture.resize((columns, 2 * rows), Image.Resampling.LANCZOS))
    text = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", style=f"rgb({above[0]},{above[1]},{above[2]}) on rgb({below[0]},{below[1]},{below[2]})")
        text.append("\n")
    text.rstrip()
    return text
