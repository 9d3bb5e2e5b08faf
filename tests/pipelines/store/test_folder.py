"""What is written to this machine's files appears whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.store import storage
from tests.disks import small_disk


@pytest.mark.parametrize(
    "copy",
    [
        lambda source, target: storage.upload_folder(source, str(target)),
        lambda source, target: storage.download_folder(str(source), target),
    ],
    ids=["up", "down"],
)
def test_a_copy_for_which_there_is_no_room_leaves_the_old_file(
    tmp_path: Path, copy: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.bin").write_bytes(bytes(3_000_000))
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        (disk.path / "a.bin").write_bytes(b"old")
        with pytest.raises(OSError, match="No space left on device") as caught:
            copy(tmp_path / "here", disk.path)
        assert caught.value.filename == str(disk.path / "a.bin")
        assert disk.files() == {"a.bin": b"old"}


def test_an_object_for_which_there_is_no_room_leaves_the_old_file(s3: str, tmp_path: Path) -> None:
    storage.write_bytes(storage.join(s3, "a.bin"), bytes(3_000_000))
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        (disk.path / "a.bin").write_bytes(b"old")
        with pytest.raises(OSError, match="No space left on device"):
            storage.download_folder(s3, disk.path)
        assert disk.files() == {"a.bin": b"old"}


def test_a_file_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / ("x" * 255)), b"1")
    assert storage.create_exclusive(str(tmp_path / ("y" * 255)), b"1")
