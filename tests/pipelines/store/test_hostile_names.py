"""Names, links and files that are none, which a folder or a bucket may hold: nothing is touched outside of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from aunet.errors import InputError
from pipelines.store import storage


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the folder that is read."""
    path = tmp_path / "outside" / "file"
    path.parent.mkdir()
    path.write_bytes(b"not ours")
    return path


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"a")
    return folder


def paths(folder: Path, **options: bool) -> list[str]:
    return [file.path for file in storage.list_files(str(folder), **options)]


@pytest.mark.parametrize("part", ["..", "../x", "a/../../x", "/etc/passwd", "/", "a\nb", "a\x1bb", "a\0", "x" * 256])
@pytest.mark.parametrize("base", ["folder", "/", "s3://bucket/prefix"])
def test_a_part_never_leaves_its_base(base: str, part: str) -> None:
    with pytest.raises(InputError, match="use the relative path of something below this folder"):
        storage.join(base, "a", part)


def test_an_empty_base_is_refused() -> None:
    with pytest.raises(InputError, match="an empty folder"):
        storage.join("", "a")


def put(uri: str, key: str) -> None:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    boto3.Session().client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"hostile")


@pytest.mark.parametrize(
    ("key", "shown"),
    [("m/../../x", "../../x"), ("m/a/../../../x", "a/../../../x"), ("m//abs", "/abs"), ("m/a\x1bb", r"a\\x1bb")],
)
def test_a_key_of_s3_that_leaves_its_folder_is_named(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, shown: str
) -> None:
    put(s3, "m/good")
    put(s3, key)
    target = tmp_path / "one" / "two"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for call in (
        lambda: storage.download_folder(storage.join(s3, "m"), target),
        lambda: storage.list_files(storage.join(s3, "m")),
        lambda: storage.local_folder(storage.join(s3, "m")).__enter__(),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert shown in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_folders_of_s3_that_leave_are_named(s3: str) -> None:
    put(s3, "m/../../x")
    with pytest.raises(InputError, match="leaves its folder"):
        storage.list_folders(storage.join(s3, "m"))


def test_a_listing_has_regular_files_alone(inside: Path) -> None:
    os.mkfifo(inside / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(inside / "socket"))
        (inside / "null").symlink_to("/dev/null")
        (inside / "dangling").symlink_to("nowhere")
        assert paths(inside) == ["a.bin"]


@pytest.mark.parametrize("call", [storage.read_bytes, storage.open_file], ids=["read_bytes", "open_file"])
def test_a_pipe_is_not_opened(inside: Path, call: Callable[[str], object]) -> None:
    os.mkfifo(inside / "pipe")
    (inside / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(InputError, match=f"{name}: a pipe, socket or device; name a regular file"):
            call(str(inside / name))


def test_a_loop_of_links_ends_and_links_of_raw_data_are_followed(inside: Path, outside: Path) -> None:
    (inside / "again").symlink_to(inside)
    (inside / "sub").mkdir()
    (inside / "sub" / "up").symlink_to("..")
    (inside / "sub" / "b.bin").write_bytes(b"b")
    (inside / "elsewhere").symlink_to(outside.parent)
    (inside / "link.bin").symlink_to(outside)
    assert paths(inside) == ["a.bin", "elsewhere/file", "link.bin", "sub/b.bin"]
    assert paths(inside, follow_links=False) == ["a.bin", "sub/b.bin"]
    assert storage.list_folders(str(inside)) == ["again", "elsewhere", "sub"]
    assert storage.list_folders(str(inside), follow_links=False) == ["sub"]


def test_deleting_a_link_leaves_what_it_points_to(inside: Path, outside: Path) -> None:
    for name, target in (("file", outside), ("folder", outside.parent)):
        (inside / name).symlink_to(target)
        storage.delete(str(inside / name))
        assert not (inside / name).is_symlink()
    (inside / "folder").symlink_to(outside.parent)
    storage.delete(str(inside))
    assert not inside.exists() and outside.read_bytes() == b"not ours"


@pytest.mark.parametrize("name", [b"a\xff.jpg", b"a\nb.jpg", b"a\x1b[31m.jpg"])
def test_a_name_that_cannot_be_printed_is_named_as_escapes(inside: Path, name: bytes) -> None:
    os.close(os.open(os.path.join(os.fsencode(inside), name), os.O_CREAT | os.O_WRONLY))
    with pytest.raises(InputError, match=r"a\\.*\.jpg'? .*control characters") as caught:
        storage.list_files(str(inside))
    assert str(caught.value).isprintable()
