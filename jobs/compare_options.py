"""The options of `compare`."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.options import Options, operand


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """Two models, and on which parts of the data they are also compared."""

    a: str = operand(0)
    """The first: a run, a model (folder, models:/NAME@ALIAS, models:/NAME/VERSION) or a folder that predict wrote."""
    b: str = operand(1)
    """The second, likewise; differences are the second minus the first."""
    gt_json: str | None = None
    """Ground truth of a folder of predictions: its JSON."""
    gt_dir: str | None = None
    """Ground truth of a folder of predictions: its PNGs."""
    slice: tuple[str, ...] = ()
    """Also by size, relative-size or category of segments; by crowded, segments, city, resolution, folder or any tag of
    images. Several are separated by spaces."""
    tags: str | None = None
    """Tags of images: JSON of image id or file name → {tag: text}, COCO JSON whose images have further keys, or CSV."""
