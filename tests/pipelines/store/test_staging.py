"""Results of several files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.store import storage
from pipelines.store.staging import staged
from tests.disks import small_disk


def write_half(uri: str, name: str, error: BaseException) -> None:
    with staged(uri, "last.json") as target:
        storage.write_bytes(storage.join(target, name), b"half")
        raise error


def write(uri: str, content: bytes = b"new", names: tuple[str, ...] = ("a/b.png", "last.json")) -> None:
    with staged(uri, "last.json") as target:
        for name in names:
            storage.write_bytes(storage.join(target, name), content)


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue(request.param)


def test_the_files_are_where_they_belong(root: str) -> None:
    uri = storage.join(root, "out")
    for content in (b"old", b"new"):
        write(uri, content)
        assert [(f.path, f.size) for f in storage.list_files(uri)] == [("a/b.png", 3), ("last.json", 3)]
        assert storage.read_bytes(storage.join(uri, "last.json")) == content
    assert storage.list_folders(uri) == ["a"]


def test_in_a_bucket_an_earlier_last_file_does_not_stand_beside_new_ones(s3: str) -> None:
    uri = storage.join(s3, "out")
    write(uri, b"old")
    with pytest.raises(KeyError):
        write_half(uri, "a/b.png", KeyError())
    assert [file.path for file in storage.list_files(uri)] == ["a/b.png"]


def test_an_error_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "new/out"
    with pytest.raises(KeyError):
        write_half(str(out), "a", KeyError())
    assert list(tmp_path.iterdir()) == []
    write(str(out), b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(str(out), "last.json", KeyboardInterrupt())
    assert sorted(path.name for path in out.iterdir()) == ["a", "last.json"]
    assert (out / "last.json").read_bytes() == b"old"


def test_a_folder_in_the_way_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out/last.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write(str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("a/*")) and (tmp_path / "out/last.json").is_dir()


def test_below_a_file_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match="file"):
        write(str(tmp_path / "file/out"))
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_full_disk_leaves_the_old_files(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        write(str(disk.path), b"old")
        disk.fill(spare=8192)
        with pytest.raises(OSError, match="No space"):
            write(str(disk.path), bytes(6000))
        assert disk.files() == {"a/b.png": b"old", "last.json": b"old"}
        disk.free()
        write(str(disk.path), bytes(6000))
        assert disk.files()["last.json"] == bytes(6000)


def test_a_disk_for_reading_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        disk.protect()
        with pytest.raises(OSError, match="Read-only"):
            write(str(disk.path / "out"))
