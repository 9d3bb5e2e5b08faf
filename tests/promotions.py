"""Promotions without training: entries made by hand, contenders for one ledger, and outcomes of a chosen quality."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.evaluation.outcomes import COLUMNS, Fate, Outcomes
from pipelines import presets
from pipelines.measuring.gating.rehearsal import Rehearsal
from pipelines.measuring.outcome_table import to_parquet
from pipelines.settings.overrides import override
from pipelines.settings.run_config import to_json
from pipelines.store import storage
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.store.ledger import Ledger, LedgerEntry
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import database, registry, runs as tracking
from tests.commands import ROOT

ONE_CLASS = Categories((Category(id=1, name="disk", is_thing=True),))
NUM_IMAGES = 20

CONTENDER = """
import json, sys
import numpy as np
import pytest

from pipelines.store.ledger import Ledger
from tests.promotions import contend
print("ready", flush=True)
for line in sys.stdin:
    uri, name, pq, adds = json.loads(line)
    contend(Ledger(uri), name, pq, adds)
    print("done", flush=True)
"""
"""A process that asks for the ledger at each URI on its stdin."""


def entry(name: str, pq: float = 40.0, **changes: Any) -> LedgerEntry:
    """An entry of a model that exists nowhere."""
    fields: dict[str, Any] = {
        "action": "promote",
        "model_uri": f"/models/{name}",
        "model_sha256": hashlib.sha256(name.encode()).hexdigest(),
        "version": 1,
        "why": f"PQ {pq}",
        "figures": {"PQ": pq},
        "who": name,
        "when": "2026-01-01T00:00:00+00:00",
    }
    return LedgerEntry(**(fields | changes))


def contend(ledger: Ledger, name: str, pq: float, adds: int = 1) -> None:
    """Ask for promotion as `propose` does: against the head that was read, and again where somebody was faster."""
    for turn in range(adds):
        own = pq + turn

        def decide(head: LedgerEntry | None, own: float = own) -> LedgerEntry | None:
            is_better = head is None or own > head.figures["PQ"]
            why = f"{own} against {head.figures['PQ'] if head else None}"
            return entry(f"{name}-{own}", own, why=why) if is_better else None

        ledger.advance(decide)


def race_processes(uris: Sequence[str], qualities: Sequence[Sequence[float]]) -> None:
    """One race per URI, by as many processes as it has qualities; all races one after the other."""
    number = max(map(len, qualities))
    pool = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(number)
    ]
    try:
        for process in pool:
            assert process.stdout and process.stdout.readline() == "ready\n"
        for uri, models in zip(uris, qualities, strict=True):
            racing = list(zip(pool, models, strict=False))
            for number, (process, pq) in enumerate(racing):
                assert process.stdin
                process.stdin.write(json.dumps([uri, f"p{number}", pq, 1]) + "\n")
                process.stdin.flush()
            for process, _ in racing:
                assert process.stdout and process.stdout.readline() == "done\n"
    finally:
        for process in pool:
            process.kill()
            process.communicate()


def race_threads(uris: Sequence[str], qualities: Sequence[Sequence[float]], at_once: int) -> None:
    """One race per URI, by as many threads as it has qualities; so many races at once."""

    def race(uri: str, models: Sequence[float]) -> None:
        with ThreadPoolExecutor(len(models)) as contenders:
            list(contenders.map(lambda pair: contend(Ledger(uri), f"t{pair[0]}", pair[1]), enumerate(models)))

    with ThreadPoolExecutor(at_once) as races:
        list(races.map(race, uris, qualities))


def check_race(uri: str, models: Sequence[float]) -> None:
    """The history is linear, every entry is better than the one before, and the best of all is champion."""
    entries = Ledger(uri).entries()
    assert [e.number for e in entries] == list(range(1, len(entries) + 1)), uri
    assert [e.previous for e in entries] == [None, *range(1, len(entries))], uri
    figures = [e.figures["PQ"] for e in entries]
    assert figures == sorted(set(figures)), f"{uri}: a worse model became champion: {figures}"
    assert figures[-1] == max(models), uri
    for earlier, later in pairwise(entries):
        assert later.why == f"{later.figures['PQ']} against {earlier.figures['PQ']}", "decided against another head"


def outcomes_of(pq: float) -> Outcomes:
    """Of a model that matches the one segment of each of twenty images; the differences between two such are sure."""
    shaken = [pq / 100 + 0.002 * (-1) ** number for number in range(NUM_IMAGES)]
    size = 2 * NUM_IMAGES
    return Outcomes.from_plain(
        {
            **{name: np.zeros(size) for name in COLUMNS},
            "images": np.arange(1, NUM_IMAGES + 1),
            "image_id": np.repeat(np.arange(1, NUM_IMAGES + 1), 2),
            "is_predicted": np.tile([False, True], NUM_IMAGES),
            "segment_id": np.ones(size),
            "area": np.full(size, 100),
            "fate": np.full(size, Fate.MATCHED),
            "iou": np.repeat(shaken, 2),
        }
    )


def no_rehearsal(ours: str, theirs: str | None, images: Sequence[bytes]) -> Rehearsal:
    """In place of fresh processes, for models that are no networks."""
    return Rehearsal(images=len(images), size_mb=1.0, slowdown=1.0 if theirs else None)


def make_model(folder: Path, weights: str = "weights") -> Path:
    """A folder that looks like a model's."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    write_hashes(folder)
    return folder


def make_report(runs: Path, name: str, pq: Any, **changes: Any) -> Report:
    """A folder with a model and a report of that quality; entries are changed as given, and left out where None is."""
    folder = runs / name
    make_model(folder / "model", name)
    if isinstance(pq, float) and 0 <= pq <= 100:
        (folder / "outcomes.parquet").write_bytes(to_parquet(outcomes_of(pq), {}, ONE_CLASS))
    report = {
        "metrics": {"PQ": pq, "PQ_th": 30.0, "AP": None},
        "per_class": [],
        "model_uri": str(folder / "model"),
        "mlflow_run_id": tracking.start_run(name, {}),
        "data_fingerprint": "abc",
        "val_fingerprint": "val1",
        **changes,
    }
    uri = folder / "report.json"
    uri.write_text(json.dumps({key: value for key, value in report.items() if value is not None}))
    return Report(uri=str(uri), fingerprint="", metrics={}, html_uri="", overlays_uri="")


def evaluated_run(store: Path, name: str, pq: float, **settings: Any) -> RunFolder:
    """A finished run with a model that is no network, and a report of that quality."""
    config = override(presets.shapes_smoke(), {"register.model_name": "aunet", **settings})
    folder = RunFolder(str(store / "runs" / name))
    folder.write_config(to_json(config))
    make_model(Path(folder.model_uri), name)
    mlflow_run_id = tracking.start_run(name, {})
    folder.finish(
        TrainedRun(uri=folder.uri, fingerprint=name, model_uri=folder.model_uri, mlflow_run_id=mlflow_run_id, steps=1)
    )
    report = folder.report()
    storage.write_bytes(report.outcomes_uri, to_parquet(outcomes_of(pq), {}, ONE_CLASS))
    document = {
        "metrics": {"PQ": pq},
        "model_uri": folder.model_uri,
        "mlflow_run_id": mlflow_run_id,
        "prepared_uri": "",
        "data_fingerprint": "",
        "val_fingerprint": "val1",
    }
    artifact = Report(uri=report.document_uri, fingerprint="", metrics={"PQ": pq}, html_uri="", overlays_uri="")
    report.write(artifact, document)
    return folder


class Crash(BaseException):
    """The process ends here."""


def crash_before(patch: pytest.MonkeyPatch, write: int) -> None:
    """Let the process end before its `write`-th write to the store, to MLflow or to the registry."""
    done = 0

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done == write:
                raise Crash
            return original(*args, **kwargs)

        patch.setattr(owner, name, call)

    counted(storage, "write_bytes")
    counted(storage, "create_exclusive")
    counted(registry, "set_tags")
    for name in ("create_registered_model", "create_model_version", "set_registered_model_alias", "set_tag"):
        counted(type(database.client()), name)
