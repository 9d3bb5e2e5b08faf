"""The same promises on a folder and on S3."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import storage


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")


def test_what_is_written_is_read(root: str) -> None:
    uri = storage.join(root, "a/b", "c.bin")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.exists(uri) and storage.read_bytes(uri) == b"two"


def test_a_missing_file_is_named_with_its_cure(root: str) -> None:
    uri = storage.join(root, "gone.bin")
    with pytest.raises(InputError, match="no such file; put it there") as caught:
        storage.read_bytes(uri)
    assert uri in str(caught.value)


def test_a_missing_folder_is_named(root: str, tmp_path: Path) -> None:
    uri = storage.join(root, "gone")
    with pytest.raises(InputError, match="no such folder"):
        storage.list_files(uri)
    with pytest.raises(InputError, match="no such folder"):
        storage.download_folder(uri, tmp_path / "copy")


def test_a_file_is_created_once(root: str) -> None:
    uri = storage.join(root, "x/manifest.json")
    assert storage.create_exclusive(uri, b"first")
    assert not storage.create_exclusive(uri, b"second")
    assert storage.read_bytes(uri) == b"first"


def test_of_many_creators_one_wins(root: str) -> None:
    uri = storage.join(root, "lease")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.create_exclusive(uri, str(n).encode()), range(8)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == str(won.index(True)).encode()


def test_a_listing_has_relative_paths_sizes_and_times(root: str) -> None:
    storage.write_bytes(storage.join(root, "d/2.bin"), b"22")
    storage.write_bytes(storage.join(root, "d/e/1.bin"), b"1")
    storage.write_bytes(storage.join(root, "other.bin"), b"")
    files = storage.list_files(storage.join(root, "d"))
    assert [(f.path, f.size) for f in files] == [("2.bin", 2), ("e/1.bin", 1)]
    assert all(f.modified > 10**18 for f in files)


def test_folders_are_listed_without_what_is_in_them(root: str) -> None:
    assert storage.list_folders(root) == []
    for name in ("b/1", "a/x/2", "file"):
        storage.write_bytes(storage.join(root, name), b"x")
    assert storage.list_folders(root) == ["a", "b"]


def test_temporary_files_are_not_listed(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "a.bin"), b"a")
    (tmp_path / ".b.bin.12345678.tmp").touch()
    assert [f.path for f in storage.list_files(str(tmp_path))] == ["a.bin"]
    assert [p.name for p in tmp_path.glob("*a.bin*")] == ["a.bin"], "nothing temporary is left by write_bytes"


def test_files_and_folders_are_deleted(root: str) -> None:
    for name in ("d/1", "d/e/2", "f"):
        storage.write_bytes(storage.join(root, name), b"x")
    storage.delete(storage.join(root, "f"))
    storage.delete(storage.join(root, "d"))
    storage.delete(storage.join(root, "never was"))
    assert not any(storage.exists(storage.join(root, name)) for name in ("d/1", "d/e/2", "f"))


def test_folders_go_up_and_down(root: str, tmp_path: Path) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    (here / "sub").mkdir(parents=True)
    (here / "a.txt").write_bytes(b"a")
    (here / "sub" / "b.bin").write_bytes(bytes(100_000))
    uri = storage.join(root, "copy")
    storage.upload_folder(here, uri)
    assert [(f.path, f.size) for f in storage.list_files(uri)] == [("a.txt", 1), ("sub/b.bin", 100_000)]
    storage.download_folder(uri, back)
    assert (back / "sub" / "b.bin").read_bytes() == bytes(100_000) and (back / "a.txt").read_bytes() == b"a"


def test_a_folder_is_renamed_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert storage.rename_folder(tmp_path / "one", tmp_path / "target")
    assert not storage.rename_folder(tmp_path / "two", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "one"
    assert not (tmp_path / "two").exists()


def test_a_lost_answer_does_not_lose_the_lease(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first put arrives but its answer is lost; the retry meets the object of the same call."""
    import botocore.client

    original = botocore.client.BaseClient._make_api_call

    def twice(self: botocore.client.BaseClient, name: str, parameters: dict[str, object]) -> object:
        if name == "PutObject":
            original(self, name, parameters)
        return original(self, name, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", twice)
    assert storage.create_exclusive(storage.join(s3, "lease"), b"mine")


@pytest.fixture
def shaky(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket whose server refuses every request once, a PUT three times, before it does what it is asked."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    backend = DomainDispatcherApplication(create_backend_app)
    asked: Counter[tuple[str, ...]] = Counter()

    def answer(environ: dict[str, Any], start: Any) -> Any:
        request = tuple(environ[key] for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
        asked[request] += 1
        if asked[request] > (3 if request[0] == "PUT" else 1):
            return backend(environ, start)
        start("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield s3
    server.shutdown()
    thread.join()


@pytest.mark.faults
def test_a_server_that_stumbles_is_asked_again(shaky: str, tmp_path: Path) -> None:
    """Also for a file that is smaller than the error's text, and where Ray carries the file system to its workers."""
    carried = pickle.loads(pickle.dumps(storage.filesystem(shaky)[0]))
    with carried.open_output_stream(storage.join(shaky, "a.bin").removeprefix("s3://")) as stream:
        stream.write(b"a")
    assert storage.create_exclusive(storage.join(shaky, "lease"), b"mine")
    assert storage.read_bytes(storage.join(shaky, "a.bin")) == b"a"
    assert [file.path for file in storage.list_files(shaky)] == ["a.bin", "lease"]
    storage.download_folder(shaky, tmp_path / "copy")
    assert (tmp_path / "copy/lease").read_bytes() == b"mine"


def test_a_pickled_bucket_holds_no_key(s3: str) -> None:
    assert b"test-secret" not in pickle.dumps(storage.filesystem(s3)[0])


def test_the_store_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/prefix/")
    assert storage.store_root() == "s3://bucket/prefix"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUNET_STORE", "below")
    assert storage.store_root() == str(tmp_path / "below")
    monkeypatch.delenv("AUNET_STORE")
    assert storage.store_root() == str(tmp_path / "store")


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("s3://b/p/", "q", "r.json"), "s3://b/p/q/r.json"),
        (("/data", "", "/x/"), "/data/x"),
        (("/", "x"), "/x"),
        (("data", "a/b"), "data/a/b"),
    ],
)
def test_parts_are_joined(parts: tuple[str, ...], joined: str) -> None:
    assert storage.join(*parts) == joined


def test_file_uris_are_paths(tmp_path: Path) -> None:
    storage.write_bytes(f"file://{tmp_path}/x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="unknown scheme; give a folder or s3://"):
        storage.exists("gs://bucket/x")
