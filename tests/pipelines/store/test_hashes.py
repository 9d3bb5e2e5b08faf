"""Lists of hashes: complete, of nothing but the folder's own files, and written last."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from aunet.errors import InputError
from aunet.model_files import CONFIG, PROGRAM, WEIGHTS
from pipelines.store import hashes, storage
from pipelines.store.hashes import check_hashes, check_listing, digest, read_hashes, upload_hashed, write_hashes
from pipelines.training.checkpoint import STATE

GOOD = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("config.json", "model.safetensors")}
LISTS = {
    "empty": ("{}", r"names no file, not config\.json and one of model\.safetensors, model\.pt2, state\.pt"),
    "without the weights": (json.dumps({"config.json": GOOD["config.json"]}), r"names config\.json, not"),
    "without the configuration": (json.dumps({"state.pt": GOOD["config.json"]}), r"names state\.pt, not"),
    "with two models": (json.dumps({**GOOD, "model.pt2": "0" * 64}), r"names config\.json, model\.safetensors, model"),
    "not JSON": ("{", "not JSON"),
    "a list": (json.dumps(list(GOOD)), "holds a list, not an object"),
    "nested": (json.dumps({**GOOD, "config.json": GOOD}), "is not a file name and its SHA-256"),
    "a number": (json.dumps({**GOOD, "config.json": 7}), "is not a file name and its SHA-256"),
    "another hash": (json.dumps({**GOOD, "config.json": "0" * 40}), "is not a file name and its SHA-256"),
    "outside": (json.dumps({**GOOD, "../x": "0" * 64}), r"'\.\./x': '000"),
    "absolute": (json.dumps({**GOOD, "/etc/passwd": "0" * 64}), "'/etc/passwd': '000"),
    "deep": ("[" * 200_000, "nested too deep"),
    "large": (" " * (2**20 + 1), "1048577 bytes, more than 1048576"),
}


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in GOOD:
        (folder / name).write_text(name)
    write_hashes(folder)
    return folder


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue(request.param)


@pytest.fixture
def model(root: str, tmp_path: Path) -> str:
    """A folder with hashes, by its URI."""
    uri = storage.join(root, "model")
    upload_hashed(written(tmp_path / "local"), uri)
    return uri


def test_the_layout_and_the_library_agree() -> None:
    assert (hashes.CONFIG, hashes.CONTENTS) == (CONFIG, (WEIGHTS, PROGRAM, STATE))


def test_what_is_written_is_accepted(model: str, tmp_path: Path) -> None:
    assert read_hashes(model) == (check_listing(model), []) == (GOOD, [])
    with storage.local_folder(model) as folder:
        assert check_hashes(folder) == GOOD
    assert digest(model) == digest(str(written(tmp_path / "again")))


@pytest.mark.parametrize("name", list(LISTS))
def test_a_damaged_or_incomplete_list_is_refused(model: str, name: str) -> None:
    content, message = LISTS[name]
    storage.write_bytes(storage.join(model, "sha256.json"), content.encode())
    for check in (read_hashes, check_listing, digest):
        with pytest.raises(InputError, match=message) as caught:
            check(model)
        assert len(caught.value.problems) == 1 and "sha256.json" in caught.value.problems[0]
        assert len(caught.value.problems[0]) < 600


@pytest.mark.parametrize("name", ["model.pt2", "below/model.pt2", ".hidden", "sha256.json.bak"])
def test_a_file_that_is_not_listed_is_refused(model: str, name: str) -> None:
    storage.write_bytes(storage.join(model, name), b"anything")
    with pytest.raises(InputError, match=rf"/{name}: not listed in sha256\.json; remove it, or fetch"):
        check_listing(model)


def test_links_are_files_that_are_not_listed(tmp_path: Path) -> None:
    folder = written(tmp_path / "model")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.pt2").write_bytes(b"anything")
    (folder / "file.pt2").symlink_to(tmp_path / "outside" / "model.pt2")
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    with pytest.raises(InputError) as caught:
        check_hashes(folder)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        str(folder / "file.pt2"),
        str(folder / "folder" / "model.pt2"),
    ]


def test_a_pipe_in_place_of_a_file_is_not_opened(tmp_path: Path) -> None:
    folder = written(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: missing, or its SHA-256 is not the one"):
        check_hashes(folder)


def test_the_digest_names_the_content(model: str) -> None:
    before = digest(model)
    other = {**GOOD, "config.json": "0" * 64}
    storage.write_bytes(storage.join(model, "sha256.json"), json.dumps(other).encode())
    assert digest(model) != before and len(before) == 64
    storage.write_bytes(storage.join(model, "sha256.json"), json.dumps(dict(reversed(GOOD.items()))).encode())
    assert digest(model) == before, "in whatever order"


def test_nothing_is_written_into_a_folder_that_is_not_empty(model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not empty; give a new folder, or delete this one"):
        upload_hashed(written(tmp_path / "another"), model)
    assert check_listing(model) == GOOD


def test_an_upload_that_fails_leaves_nothing(root: str, tmp_path: Path) -> None:
    """The disk is full when the list is written."""
    folder, uri = written(tmp_path / "local"), storage.join(root, "model")

    def full(uri: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        upload_hashed(folder, uri, commit=full)
    assert not storage.exists(uri)
    upload_hashed(written(tmp_path / "again"), uri)
    assert check_listing(uri) == GOOD
