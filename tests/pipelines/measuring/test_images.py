"""Which files of a folder are labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.measuring.images import image_files


def test_pictures_of_all_folders_in_order_but_for_those_of_macos(tmp_path: Path) -> None:
    names = ["b.jpg", "a/c.PNG", "a/._c.PNG", "__MACOSX/._b.jpg", "notes.txt", "a/d.jpeg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert image_files(str(tmp_path)) == (str(tmp_path), ["a/c.PNG", "a/d.jpeg", "b.jpg"])
    assert image_files(str(tmp_path / "b.jpg")) == (str(tmp_path), ["b.jpg"])


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "no such file or folder"), ("empty", "no .jpg"), ("a.txt", "no such folder")]
)
def test_nothing_to_label(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=message):
        image_files(str(tmp_path / name))
