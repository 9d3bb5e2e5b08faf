"""The page of trained models says what the results say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import RESULTS
from benchmarks.zoo import PAGE, beside_the_paper, collect, models_table, table_documents, written
from pipelines import presets
from pipelines.settings.run_config import to_json
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.store.run_folder import RunFolder

METRICS = {"PQ": 30.0, "PQ_th": 20.0, "PQ_st": 40.0, "AP": 10.0, "mIoU": 50.0}


def finished_run(store: Path, seed: int, pq: float, preset: str = "camvid_lite0", **settings: Any) -> None:
    """A run as `train` and `evaluate` leave it."""
    config = getattr(presets, preset)()
    config = replace(config, train=replace(config.train, seed=seed, epochs=5, num_workers=1))
    run = RunFolder(str(store / "runs" / f"{preset}-{seed}"))
    model = Path(run.model_uri)
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(bytes([seed]))
    (model / "config.json").write_text("{}")
    write_hashes(model)
    run.write_config(to_json(config))
    run.history.append([{"kind": "start", "step": 0, "at": 1000.0}, {"kind": "end", "step": 9, "at": 1600.0}])
    run.history.join()
    run.finish(TrainedRun(uri=run.uri, fingerprint=run.name, model_uri=run.model_uri, mlflow_run_id="m", steps=9))
    folder, metrics = run.report(), METRICS | {"PQ": pq}
    report = Report(
        uri=folder.document_uri, fingerprint="f", metrics=metrics, html_uri=folder.html_uri, overlays_uri=folder.uri
    )
    per_class = [{"name": "sky", "PQ": pq}, {"name": "car", "PQ": 20.0}]
    folder.write(report, {"metrics": metrics, "per_class": per_class, "settings": settings})


def test_runs_of_a_store_become_rows(tmp_path: Path) -> None:
    finished_run(tmp_path, 0, 30.0)
    finished_run(tmp_path, 1, 32.0)
    (tmp_path / "runs" / "begun").mkdir()
    entries = collect([str(tmp_path)], [])
    assert collect([str(tmp_path)], entries) == entries and len(entries) == 2
    assert entries[0]["command"] == "aunet run camvid_lite0 --train.epochs 5"
    assert (entries[0]["minutes"], entries[0]["steps"]) == (10.0, 9)
    assert entries[0]["weights"] != entries[1]["weights"]
    lines = models_table(entries).splitlines()
    assert lines[2].startswith("| `aunet run camvid_lite0 --train.epochs 5` | 2 | 31.0 ± 12.7 | 20.0 ± 0.0 |")
    assert lines[-1] == "| `aunet run camvid_lite0 --train.epochs 5` | 31.0 ± 12.7 | 20.0 ± 0.0 |"


def test_a_command_has_the_fusion_that_was_measured(tmp_path: Path) -> None:
    finished_run(tmp_path, 0, 30.0, **{"fusion.stuff_area": 100, "fusion.relations": [], "augment.max_size": 720})
    (entry,) = collect([str(tmp_path)], [])
    assert entry["command"] == "aunet run camvid_lite0 --fusion.stuff_area 100 --train.epochs 5"


def test_the_papers_differences_stand_beside_ours() -> None:
    own: dict[str, Any] = {"PQ": {"n": 3, "mean": 0.5, "half": 0.25}, "PQ_st": {"n": 1, "mean": 1.0}}
    table = beside_the_paper([{"base": "camvid_lite0", "differences": {"aunet - e2e": own, "gain - e2e": own}}])
    assert "| `aunet` | +1.3 | +1.3 | +0.50 ± 0.25 |  |" in table
    assert "| `gain` |  |  | +0.50 ± 0.25 |  |" in table


def test_the_page_is_what_the_results_say() -> None:
    file = RESULTS / "zoo.json"
    entries = json.loads(file.read_text()) if file.exists() else []
    assert written(PAGE.read_text(), entries, table_documents()) == PAGE.read_text(), "run benchmarks/zoo.py"


@pytest.mark.parametrize("page", ["no marks", "<!-- written by benchmarks/zoo.py -->"])
def test_a_page_without_marks_is_not_written(page: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        written(page, [], [])
