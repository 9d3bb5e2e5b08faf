"""Files of a lease that are damaged or not its own: it is won, or refused with the cure, and never awaited for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.lease import Held, acquire

GOOD: dict[str, Any] = {"holder": "h/1", "token": "t", "since": 1.0, "expires": 2.0}


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return storage.join(root, "lease")


def documents() -> Iterator[tuple[str, str, str]]:
    """Name, content of the newest file, and the message."""
    yield "empty", "", "not JSON"
    yield "text", "held", "not JSON"
    yield "half", json.dumps(GOOD)[:40], "not JSON"
    yield "list", "[]", "holds a list, not an object"
    yield "deep", "[" * 1_000_000, "nested too deep"
    yield "binary", "\0\x01", "not JSON"
    for name in GOOD:
        yield f"no {name}", json.dumps({k: v for k, v in GOOD.items() if k != name}), f"lacks {name}"
        yield f"{name} null", json.dumps(GOOD | {name: None}), f"{name} = None"
        yield f"{name} list", json.dumps(GOOD | {name: []}), f"{name} = "
    yield "expires text", json.dumps(GOOD | {"expires": "2030-01-01"}), "expires = '2030-01-01'"
    yield "expires NaN", json.dumps(GOOD | {"expires": float("nan")}), "NaN is not a number"
    yield "expires inf", json.dumps(GOOD | {"expires": float("inf")}), "Infinity is not a number"
    yield "expires endless", json.dumps(GOOD).replace("2.0", "1e999"), "not JSON"
    yield "expires too late", json.dumps(GOOD | {"expires": 1e300}), "expires = 1e\\+300"
    yield "expires negative", json.dumps(GOOD | {"expires": -1}), "expires = -1"
    yield "since too late", json.dumps(GOOD | {"since": 1e300}), "since = 1e\\+300"
    yield "another key", json.dumps(GOOD | {"colour": 1}), "colour: no such field"


@pytest.mark.parametrize(("name", "content", "message"), documents(), ids=lambda value: str(value)[:20])
def test_a_damaged_lease_is_not_free(uri: str, name: str, content: str, message: str) -> None:
    file = storage.join(uri, "000007.json")
    storage.write_bytes(file, content.encode())
    with pytest.raises(InputError, match=rf"000007\.json: .*{message}.*; delete the file once nobody works here"):
        acquire(uri, 100, sleep=lambda _: None)
    assert storage.read_bytes(file) == content.encode()
    storage.delete(file)
    acquire(uri, 100, sleep=lambda _: None).check()


@pytest.mark.parametrize(
    "name", ["1.json", "00001.json", "0000001.json", "-00001.json", "１２３４５６.json", "x.json", "000001"]
)
def test_a_stray_file_is_not_the_leases(uri: str, name: str) -> None:
    storage.write_bytes(storage.join(uri, name), b"{}")
    lease = acquire(uri, 100, sleep=lambda _: None)
    lease.check()
    assert lease.number == 1 and storage.exists(storage.join(uri, name))
    with pytest.raises(Held):
        acquire(uri, 100, sleep=lambda _: None)


def test_a_number_that_is_too_high_is_refused(uri: str) -> None:
    for digits in ("9" * 13, "9" * 200):
        storage.write_bytes(storage.join(uri, f"{digits}.json"), json.dumps(GOOD).encode())
        with pytest.raises(InputError, match="too high for a lease"):
            acquire(uri, 100, sleep=lambda _: None)


@pytest.mark.parametrize("kind", ["folder", "full folder", "pipe", "link to nothing"])
def test_what_is_called_so_and_is_no_file_is_not_won(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lease" / "000001.json"
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    else:
        path.mkdir()
        if kind == "full folder":
            (path / "file").touch()
    with pytest.raises(InputError, match=r"000001\.json: cannot be written or read as a file; delete"):
        acquire(str(path.parent), 100)
    assert not (tmp_path / "nothing").exists()
