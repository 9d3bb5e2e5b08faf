"""What names a file or folder, and what is refused before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.uris import check_uri


@pytest.mark.parametrize(
    "uri",
    ["a", "/a/../b", "~", "a b", "a@b:c", "s3:x", "file:///a", "s3://bucket", "s3://bucket/", "s3://bucket/a@b:c"],
)
def test_what_names_something_is_accepted(uri: str) -> None:
    assert check_uri(uri) == uri


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", r"'': an empty path \(is a variable not set\?\); give a folder"),
        ("s3://", "s3://: names no bucket; give a folder"),
        ("s3:///key", "s3:///key: names no bucket; "),
        ("s3://-a/b", "s3://-a/b: names no bucket; "),
        ("s3:/bucket/key", "s3:/…: has one slash after the scheme; "),
        ("file://", "file://: names no absolute path of this machine; "),
        ("file://host/path", "file://host/path: names no absolute path of this machine; "),
        ("file:/path", "file:/…: has one slash after the scheme; "),
        ("https:/me:secret@host", "https:/…: has one slash after the scheme; "),
        ("S3://bucket/x", "S3://…: unknown scheme; "),
        ("gs://user:password@bucket", "gs://…: unknown scheme; "),
        ("s3://bucket/a/../b", "s3://bucket/a/../b: the key 'a/../b' leaves its folder; "),
        ("s3://bucket//a", "s3://bucket//a: the key '/a' leaves its folder; "),
        ("a\x1b[31m", r"a\\x1b\[31m: has control characters or is not UTF-8; rename it"),
        ("a\0", r"a\\x00: has control characters"),
        (os.fsdecode(b"a\xff"), r"a\\udcff: has control characters or is not UTF-8"),
    ],
)
@pytest.mark.parametrize("call", [storage.absolute, storage.exists, storage.list_files, storage.read_bytes])
def test_what_names_nothing_is_refused_at_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str, call: Callable[[str], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{message}"):
        call(uri)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "file://", "file://host/path"])
def test_nothing_is_written_to_what_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda: storage.write_bytes(uri, b"1"),
        lambda: storage.write_bytes(storage.join(uri, "aunet-test.json"), b"1"),
        lambda: storage.upload_folder(tmp_path, uri),
    ):
        (tmp_path / "file").touch()
        with pytest.raises(InputError):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and not Path("/aunet-test.json").exists()


@pytest.mark.parametrize("uri", ["s3://AKIA12:se/cret@bucket/x", "s3://AKIA12:secret@bucket", "s3://AKIA12@bucket/se"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(InputError, match="holds credentials or a port") as caught:
        storage.read_bytes(uri)
    assert "AKIA12" not in str(caught.value) and "se" + "cret" not in str(caught.value)


@pytest.mark.parametrize("value", ["s3://", "s3://AKIA12:secret@bucket"])
def test_the_variable_of_the_store_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AUNET_STORE", value)
    with pytest.raises(InputError, match=r"^AUNET_STORE = s3://") as caught:
        storage.store_root()
    assert "AKIA12" not in str(caught.value)
