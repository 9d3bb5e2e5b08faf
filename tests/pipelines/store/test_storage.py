"""The same promises on a folder and on S3."""

from __future__ import annotations

import os
import pickle
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aunet.errors import InputError, Unavailable
from pipelines.store import s3 as requests, storage
from tests import fault_proxy
from tests.swift import Swift


@pytest.fixture(params=["folder", "s3", "swift_bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder, moto's server, which decides who creates a file, and Swift, which checks signatures."""
    monkeypatch.setattr(requests, "SETTLE_SECONDS", 0.5)
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue(request.param)


def test_what_is_written_is_read(root: str) -> None:
    uri = storage.join(root, "a/b", "c.bin")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.exists(uri) and storage.read_bytes(uri) == b"two"


def test_a_large_file_comes_back_in_the_pieces_that_are_asked_for(root: str) -> None:
    content = random.Random(0).randbytes(25_000_000)  # three parts of an upload
    uri = storage.join(root, "large.bin")
    storage.write_bytes(uri, content)
    assert storage.read_bytes(uri) == content
    with storage.open_file(uri) as file:
        assert file.size() == len(content)
        for first, last in ((0, 10), (1_000_000, 13_000_000), (24_930_000, 24_940_000), (24_999_990, 25_000_000)):
            file.seek(first)
            assert file.read(last - first) == content[first:last]
        assert file.read(10) == b""


def test_an_empty_file_is_one(root: str) -> None:
    storage.write_bytes(storage.join(root, "d/empty"), b"")
    assert storage.read_bytes(storage.join(root, "d/empty")) == b""
    assert storage.open_file(storage.join(root, "d/empty")).size() == 0
    assert [(f.path, f.size) for f in storage.list_files(storage.join(root, "d"))] == [("empty", 0)]


def test_parquet_is_read_where_it_lies(root: str) -> None:
    table = pa.table({"n": list(range(100_000))})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=1000)
    storage.write_bytes(storage.join(root, "t.parquet"), sink.getvalue().to_pybytes())
    file = pq.ParquetFile(storage.open_file(storage.join(root, "t.parquet")), pre_buffer=True)
    assert file.read_row_group(41).equals(table.slice(41_000, 1000))
    with pytest.raises(FileNotFoundError):
        storage.open_file(storage.join(root, "other.parquet"))


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


def test_a_temporary_folders_mode_does_not_go_along(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "weights").write_bytes(b"w")
        storage.upload_folder(Path(scratch), str(tmp_path / "store" / "model"))
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "store" / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


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


@pytest.mark.faults
def test_what_is_carried_to_a_worker_is_as_patient_and_retries_do_not_run_out(
    s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow's own pickle forgets the retries; its standard strategy has 100 for the life of a process."""
    storage.write_bytes(storage.join(s3, "a.bin"), b"a")
    path = storage.join(s3, "a.bin").removeprefix("s3://")
    with fault_proxy.serving(s3_endpoint, 0.3, ("reset",)) as proxy:  # rarely enough that no request meets all attempts
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        carried = pickle.loads(pickle.dumps(storage.filesystem(s3)[0]))
        with ThreadPoolExecutor(8) as pool:
            assert [info.size for info in pool.map(carried.get_file_info, [path] * 400)] == [1] * 400
    assert proxy.seen["reset"] > 120


@pytest.fixture
def not_yet_connected() -> Iterator[None]:
    """Nothing that was made with other keys is used, nor left to other tests."""
    requests._client.cache_clear()
    requests.s3_filesystem.cache_clear()
    yield
    requests._client.cache_clear()
    requests.s3_filesystem.cache_clear()


def test_a_body_that_came_too_slowly_is_sent_again(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 says so with status 400, as of what is wrong."""
    monkeypatch.setattr(requests, "PART", 6_000_000)
    with fault_proxy.serving(os.environ["AWS_ENDPOINT_URL"], 0.5, ("400",)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for name, content in {**dict.fromkeys("abcde", b"content"), "large": b"x" * 7_000_000}.items():
            storage.write_bytes(storage.join(s3, name), content)
            assert storage.read_bytes(storage.join(s3, name)) == content
        assert storage.create_exclusive(storage.join(s3, "lease"), b"mine")
    assert proxy.seen["400"] > 5


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_keys_are_refused_at_once(
    swift: Swift, swift_bucket: str, not_yet_connected: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "wrong")
    for call in (
        lambda: storage.read_bytes(storage.join(swift_bucket, "a")),
        lambda: storage.write_bytes(storage.join(swift_bucket, "b"), b"b"),
        lambda: storage.create_exclusive(storage.join(swift_bucket, "c"), b"c"),
        lambda: storage.list_files(swift_bucket),
        lambda: storage.exists(storage.join(swift_bucket, "a")),
    ):
        with pytest.raises(Unavailable, match=f"{swift_bucket}.*{swift.endpoint} refuses: .*check that the keys"):
            call()


def test_no_keys_at_all_are_reported(s3: str, not_yet_connected: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unavailable, match="refuses: Unable to locate credentials"):
        storage.read_bytes(storage.join(s3, "a"))


def test_a_server_with_a_name_is_asked_by_that_name(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket stands in the path, not before the name."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint.replace("127.0.0.1", "localhost"))
    uri = storage.join(s3, "a")
    assert storage.create_exclusive(uri, b"a") and storage.exists(uri) and storage.read_bytes(uri) == b"a"


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
        (("/data", "", "x/"), "/data/x"),
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
    with pytest.raises(InputError, match=r"^gs://…: unknown scheme; give a folder, file:///folder or s3://"):
        storage.exists("gs://bucket/x")
