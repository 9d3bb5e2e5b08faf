"""Hostile stores: documents and manifests for `register` and `verify`, links and foreign files for `gc`."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.canaries import URIS
from tests.hostile.arena import Arena, Case, Result
from tests.hostile.materials import RUN_ID
from tests.hostile.values import RAW, damaged_bytes, damaged_documents

Change = Callable[[Arena, Path], None]
"""Damages a copy of a store."""
RUN = f"runs/{RUN_ID}"
DAY = 48 * 3600
_NUMBERS = itertools.count()


def store_cases(arena: Arena) -> Iterator[Case]:
    """All cases of this file."""
    yield from _registrations(arena)
    yield from _manifests(arena)
    yield from _deletions()


def _registrations(arena: Arena) -> Iterator[Case]:
    for name in ("run.json", "report.json"):
        document = json.loads((arena.materials / "store" / RUN / name).read_bytes())
        for damage, text in damaged_documents(document):
            yield _register(f"{name}: {damage}", f"{RUN}/{name}", text.encode())
    report = json.loads((arena.materials / "store" / RUN / "report.json").read_bytes())
    for uri in ("../../etc", "/etc", "file://", "s3://", *URIS.values()):
        yield _register(f"model_uri = {uri}", f"{RUN}/report.json", json.dumps({**report, "model_uri": uri}).encode())


def _register(name: str, path: str, data: bytes) -> Case:
    database = f"{next(_NUMBERS)}.db"  # MLflow keeps a connection to each, whatever becomes of the file

    def words(arena: Arena) -> list[str]:
        store = arena.fresh("store")
        (store / path).write_bytes(data)
        shutil.copy(arena.materials / "mlflow.db", arena.work / database)
        return ["register", "shapes_smoke", "--run", str(store / RUN)]

    def is_same(result: Result) -> bool:
        pq = "PQ 0.50" if name == "report.json: metrics.PQ is half" else "PQ 40.00"
        return result["version"] == 1 and result["fingerprint"] == RUN_ID and pq in result["reason"]

    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{{work}}/{database}"}
    return Case(kind="register", name=name, words=words, right=is_same, environment=environment)


def _manifests(arena: Arena) -> Iterator[Case]:
    (manifest,) = (arena.materials / "prepared").rglob("manifest.json")
    pristine = manifest.read_bytes()
    document = json.loads(pristine)
    del document["sha256"]
    inside = manifest.relative_to(arena.materials / "prepared")
    for name, text in damaged_documents(document):
        yield _verify(f"manifest: {name}", inside, _signed(text))
    for name, data in damaged_bytes(pristine, seed=4, count=40):
        yield _verify(f"manifest: {name}", inside, data)


FREE_FIELDS = re.compile(
    r"manifest: (code_version|source_fingerprint|categories\.0\.(name|color)|splits\.\w+\.num_segments\.\d+ is missing"
    r"|splits\.\w+\.num_segments is object|splits\.\w+\.(num_)?quarantined is missing)"
)
"""What a manifest may say without any shard being another."""


def _signed(text: str) -> bytes:
    """A manifest with the hash that whoever damages it can write, too."""
    if any(raw in text for raw in RAW.values()):
        return text.encode()
    plain = json.loads(text)
    if not isinstance(plain, dict):
        return text.encode()
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return json.dumps({**plain, "sha256": digest}).encode()


def _verify(name: str, path: Path, data: bytes) -> Case:
    def words(arena: Arena) -> list[str]:
        store = arena.fresh("prepared")
        (store / path).write_bytes(data)
        return ["verify", str(store)]

    right = (lambda result: result["files"] > 3) if FREE_FIELDS.match(name) else None
    return Case(kind="manifest", name=name, words=words, right=right)


def _deletions() -> Iterator[Case]:
    for hours in ("nan", "inf", "-inf", "-1", "1e400", "x", ""):
        yield _gc(f"older than {hours}", lambda arena, store: None, hours)
    for name, change in GC.items():
        yield _gc(name, change, "0")


def _gc(name: str, change: Change, hours: str) -> Case:
    def words(arena: Arena) -> list[str]:
        store = arena.fresh("prepared").rename(arena.work / "store")
        arena.fresh("store")
        for path in store.rglob("*"):
            os.utime(path, (time.time() - DAY, time.time() - DAY), follow_symlinks=False)
        change(arena, store)
        return ["gc", "--older-than-hours", hours]

    def is_nothing_of_others(result: Result) -> bool:
        return name != NO_STORE and all(f"/{RUN}/checkpoints/" in uri for uri in result["deleted"])

    return Case(kind="gc", name=name, words=words, right=is_nothing_of_others)


def _link_in(folder: str) -> Change:
    def change(arena: Arena, store: Path) -> None:
        (store / folder).mkdir(parents=True, exist_ok=True)
        (store / folder / "link").symlink_to(arena.outside / "victim", target_is_directory=True)
        (store / folder / "file.parquet").symlink_to(arena.outside / "victim/a.txt")

    return change


def _linked_checkpoint(arena: Arena, store: Path) -> None:
    (store / RUN / "checkpoints").mkdir(exist_ok=True)
    (store / RUN / "checkpoints" / "0000000009-0000aaaa").symlink_to(arena.outside / "victim", target_is_directory=True)


def _no_store(arena: Arena, store: Path) -> None:
    for path in store.glob("*"):
        if path.is_file():
            path.unlink()


def _foreign(arena: Arena, store: Path) -> None:
    for folder in ("prepared", "prepared/shards", "prepared/receipts", "runs"):
        path = store / folder / "holiday.jpg"
        path.write_bytes(b"not ours")
        os.utime(path, (time.time() - DAY, time.time() - DAY))


NO_STORE = "a folder that is not a store"
GC: dict[str, Change] = {
    "a link in prepared/": _link_in("prepared"),
    "a link among the shards": _link_in("prepared/shards"),
    "a link among the receipts": _link_in("prepared/receipts"),
    "a link among the runs": _link_in("runs"),
    "a checkpoint that is a link": _linked_checkpoint,
    NO_STORE: _no_store,
    "foreign files": _foreign,
}
"""What `gc` meets."""
