"""Shares of an evaluation, as they come out of Ray's object store: nothing in them can be written to."""

from __future__ import annotations

from pipelines.measuring.measurement import Measurement
from pipelines.measuring.share import combine_shares
from tests.tiny import CATEGORIES


def measured(images: int) -> Measurement:
    measurement = Measurement(CATEGORIES)
    measurement.semantic.pixels[0, 0] = images
    quality = measurement.quality
    for array in (quality.iou, quality.tp, quality.fp, quality.fn, measurement.semantic.pixels):
        array.flags.writeable = False
    return measurement


def test_shares_add_up() -> None:
    combined = combine_shares((measured(1), {"overlays/2.png": b"2"}), (measured(2), {"overlays/1.png": b"1"}))
    assert list(combined["pictures"]) == ["overlays/1.png", "overlays/2.png"]
    assert combined["metrics"]["mIoU"] == 100.0
