"""Mapillary Vistas: options that its instance PNGs do not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.import_data import import_data
from tests.importers.panoptic_writers import write_vistas
from tests.importers.scenes import generated


def test_a_background_needs_pixels_without_a_label(tmp_path: Path) -> None:
    write_vistas(generated(tmp_path / "original", 1), tmp_path / "in", panoptic=False)
    message = r"--background rest: the PNGs in .*/training/v2\.0/instances have a label for every pixel.*; leave it out"
    with pytest.raises(InputError, match=message):
        import_data("mapillary", str(tmp_path / "out"), data=str(tmp_path / "in"), background="rest")
