"""A search whose driver is killed goes on with the same trials, and ends with what it would have found."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from aunet.config import LossWeights
from jobs.overrides import read_overrides
from pipelines import presets
from pipelines.settings.overrides import override
from tests.commands import ROOT, TINY_RUN, command, environment, jobs, processes

TINY_STUDY = [
    "tune", "shapes_smoke", *TINY_RUN, "--train.warmup_steps", "1",
    "--tune.num_trials", "4", "--tune.epochs", "2", "--tune.reduction", "2", "--tune.confirm_seeds", "0",
]  # fmt: skip
STUDY = [
    "tune", "shapes_smoke", "--loss.semantic", "0.01", "--data.shapes.num_train", "256", "--data.shapes.num_val", "32",
    "--train.batch_size", "8", "--train.warmup_steps", "30", "--tune.num_trials", "10", "--tune.epochs", "4",
    "--tune.reduction", "2", "--tune.span", "100",
]  # fmt: skip


def recorded(store: Path) -> list[dict[str, Any]]:
    files = sorted(store.glob("tuned/*/record/[0-9]*.json"))
    return [json.loads(file.read_text()) for file in files]


def kill_at(store: Path, words: list[str], results: int, seconds: float) -> list[dict[str, Any]]:
    """Start the command and kill its driver, and nothing else, when so many results are recorded."""
    process = subprocess.Popen(
        command(*words), cwd=ROOT, env=environment(store), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + seconds
    while sum(entry["kind"] == "result" for entry in recorded(store)) < results:
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < end, "no result came"
        time.sleep(0.1)
    process.kill()
    process.wait()
    while processes(store, "ray::"):
        assert time.monotonic() < end, "processes of the killed study are left"
        time.sleep(0.2)
    return recorded(store)


def check(store: Path, result: dict[str, Any], killed: list[list[dict[str, Any]]], monkeypatch: Any) -> dict[str, Any]:
    """What holds for every finished study, however often it was killed. Returns its document."""
    entries = recorded(store)
    for earlier in killed:
        assert entries[: len(earlier)] == earlier
    trials = [entry for entry in entries if entry["kind"] == "trial"]
    results = [(entry["number"], entry["epoch"]) for entry in entries if entry["kind"] == "result"]
    assert [entry["number"] for entry in trials] == list(range(result["trials"]))
    assert len({json.dumps(entry["point"]) for entry in trials}) == len(trials), "a setting came twice"
    assert len(set(results)) == len(results), "a result came twice"
    assert len(list(store.glob("runs/*/config.json"))) >= len(trials)

    document = json.loads(Path(result["study_uri"], "study.json").read_text())
    states = {trial["number"]: trial["state"] for trial in document["trials"]}
    assert set(states.values()) <= {"finished", "stopped"} and "finished" in states.values()
    best = max((t for t in document["trials"] if t["state"] == "finished"), key=lambda trial: trial["PQ"])
    assert result["best"] == document["best"] and best["PQ"] == result["best"]["PQ"]
    assert len(document["val_slice"]) == 16

    config = override(presets.shapes_smoke(), read_overrides(result["overrides"]))
    assert config.loss == LossWeights(**result["best"]["weights"])

    from pipelines.tracking import runs as tracking

    monkeypatch.setenv("AUNET_STORE", str(store))
    mlflow = tracking.client()
    assert mlflow.get_run(result["mlflow_run_id"]).info.status == "FINISHED"
    assert {a.path for a in mlflow.list_artifacts(result["mlflow_run_id"])} >= {"study.html", "study.json"}
    for trial in document["trials"]:
        child = mlflow.get_run(trial["mlflow_run_id"])
        assert child.data.tags["mlflow.parentRunId"] == result["mlflow_run_id"]
        trained = Path(trial["run_uri"], "run.json").exists()
        assert child.info.status == ("FINISHED" if trained else "KILLED")
        assert trained or trial["state"] == "stopped"
    return document


@pytest.mark.slow
@pytest.mark.faults
def test_a_killed_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    killed = kill_at(store, TINY_STUDY, results=1, seconds=500)
    result, printed = jobs(store, *TINY_STUDY)
    document = check(store, result, [killed], monkeypatch)
    assert [trial["origin"] for trial in document["trials"]] == [
        "the preset", "paper, COCO", "paper, Cityscapes", "equal",
    ]  # fmt: skip
    assert "resumed" in printed and "(equal) · started" in printed and "Traceback" not in printed

    again, printed = jobs(store, *TINY_STUDY, more={"RAY_ADDRESS": "nowhere:1"})
    assert again == result and printed == ""
    _, printed = jobs(store, *TINY_STUDY, "--tune.max_concurrent", "9", "--tune.span", "9", rc=3)
    assert "tune.max_concurrent = 9" in printed and "floor(" in printed


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_what_is_found_beats_a_bad_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting from λ4 = 0.01, with the driver killed twice: better beyond the spread of three seeds."""
    store = tmp_path / "store"
    killed = [kill_at(store, STUDY, results, seconds=3000) for results in (5, 12)]
    done = subprocess.run(command(*STUDY), cwd=ROOT, env=environment(store), stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    document = check(store, result, killed, monkeypatch)
    assert any(trial["state"] == "stopped" for trial in document["trials"])
    best, preset = result["confirmed"]["best"], result["confirmed"]["preset"]
    assert len(best["seeds"]) == len(preset["seeds"]) == 3
    assert min(best["seeds"]) > max(preset["seeds"])
    assert best["PQ"] - preset["PQ"] > 2 * max(best["sd"], preset["sd"])
