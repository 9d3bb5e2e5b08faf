"""What a folder of raw files holds, and what is left out of it."""

from __future__ import annotations

from pathlib import Path

from pipelines.store.listing import Listing
from tests.importers.writers import put


def test_what_macos_adds_is_not_there(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", "x/b.png", "x/._b.png", "__MACOSX/a.jpg", "x/__MACOSX/y/b.png", "__MACOSX.png"):
        put(tmp_path / name, "")
    assert set(Listing(str(tmp_path)).names) == {"a.jpg", "x/b.png", "__MACOSX.png"}
