"""Stack overlays of a run into one picture: `python docs/figures/overlays.py OVERLAYS_FOLDER OUT.png [NAME …]`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

WIDTH = 960
"""Pixels of the result."""
NUM_SHOWN = 4


def stack(folder: Path, names: list[str]) -> Image.Image:
    """The named overlays, or the first few, one below the other."""
    paths = [folder / name for name in names] or sorted(folder.glob("*.png"))[:NUM_SHOWN]
    pictures = [Image.open(path).convert("RGB") for path in paths]
    pictures = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in pictures]
    result = Image.new("RGB", (WIDTH, sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        result.paste(picture, (0, top))
        top += picture.height
    return result


if __name__ == "__main__":
    stack(Path(sys.argv[1]), sys.argv[3:]).quantize(256).save(sys.argv[2], optimize=True)
