"""The main job on generated scenes, from nothing to a registered model and pictures of its predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.commands import LOGGED_STEPS, NUM_STEPS, TINY_RUN, MainJob, jobs_here

METRICS = {"PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st", "AP", "AP_box", "mIoU"}


@pytest.fixture
def store(main_job: MainJob) -> Path:
    return main_job.store


@pytest.fixture
def first(main_job: MainJob) -> tuple[dict[str, Any], str]:
    return main_job.result, main_job.log


def test_the_main_job(first: tuple[dict[str, Any], str]) -> None:
    result, printed = first
    assert set(result) >= METRICS
    assert all(0 <= result[name] <= 100 for name in METRICS)
    assert result["run"]["steps"] == NUM_STEPS
    assert f"step {NUM_STEPS}/{NUM_STEPS}" in printed
    for line in ("pictures", "report", "MLflow", "model"):
        assert line in printed
    overlays = sorted(Path(result["report"]["overlays_uri"]).glob("*.png"))
    assert len(overlays) == 4
    assert np.asarray(Image.open(overlays[0])).std() > 10
    assert "<svg" in Path(result["report"]["html_uri"]).read_text()


def test_a_second_run_does_nothing(store: Path, first: tuple[dict[str, Any], str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file() and "mlflow.db" not in p.name}
    again, printed = jobs_here(store, "run", "shapes_smoke", *TINY_RUN)
    assert again == first[0]
    assert "step" not in printed
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_mlflow_has_the_run(store: Path, first: tuple[dict[str, Any], str], monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.tracking import runs as tracking

    monkeypatch.setenv("AUNET_STORE", str(store))
    client = tracking.client()
    run = client.get_run(first[0]["run"]["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "4"
    assert run.data.metrics["PQ"] == pytest.approx(first[0]["PQ"])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in history] == LOGGED_STEPS
    artifacts = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"overlays", "attention", "per_class.json", "report.html"}
    version = client.get_model_version_by_alias(first[0]["model"]["name"], "champion")
    assert version.source == first[0]["run"]["model_uri"]


def test_predict_and_score_agree_with_evaluate(store: Path, first: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    """The same pictures through `predict` and `score` give the PQ that `evaluate` measured."""
    raw = next((store / "raw").glob("shapes-*"))
    truth = ["--panoptic-json", str(raw / "annotations/panoptic_val.json")]
    truth += ["--panoptic-dir", str(raw / "annotations/panoptic_val")]
    model = f"models:/{first[0]['model']['name']}@champion"
    predicted, _ = jobs_here(
        store, "predict", "--model", model, "--images", str(raw / "val"), "--out", str(tmp_path / "out"),
        "--overlays", "--attention", *truth,
    )  # fmt: skip
    assert predicted["images"] == 4
    for folder in ("overlays", "attention"):
        assert len(list((tmp_path / "out" / folder).glob("*.png"))) == 4
    scored, _ = jobs_here(
        store, "score", "--gt-json", truth[1], "--gt-dir", truth[3],
        "--pred-json", predicted["panoptic_json"], "--pred-dir", predicted["panoptic_dir"],
    )  # fmt: skip
    for name in ("PQ", "PQ_th", "PQ_st"):
        assert scored[name] == pytest.approx(first[0][name], abs=1e-9)


def test_the_report_is_what_was_printed(first: tuple[dict[str, Any], str]) -> None:
    document = json.loads(Path(first[0]["report"]["uri"]).read_text())
    assert {name: document["metrics"][name] for name in METRICS} == {name: first[0][name] for name in METRICS}
    assert {row["name"] for row in document["per_class"]} >= {"sky", "ball"}
    assert list(document["attention"]) == ["pam2", "pam3", "pam4", "pam5", "mam"]
    for means in document["attention"].values():
        assert 0 < means["things"] < 1 and means["difference"] == pytest.approx(means["stuff"] - means["things"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "shapes_smoke", "--train.seed", "5"], "train it first"),
        (["register", "shapes_smoke", "--train.seed", "5"], "train it first"),
        (["evaluate", "shapes_smoke", "--run", "/no/such/run"], "/no/such/run"),
        (["predict", "--model", "/no/such/model", "--images", "x", "--out", "y"], "no such"),
        (["train", "shapes_smoke", "--loss.semantic", "-1"], "loss.semantic = -1.0"),
        (["train", "shapes_smoke", "--train.epohcs", "3"], "train.epochs"),
        (["train", "shapes_smoke", "--train.use_gpu", "True"], "--train.use_gpu False"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    store: Path, first: tuple[dict[str, Any], str], words: list[str], message: str
) -> None:
    tiny = TINY_RUN if len(words) > 1 and words[1] == "shapes_smoke" else []
    runs = sorted((store / "runs").iterdir())
    _, printed = jobs_here(store, *words, *tiny, rc=2)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in printed
    assert sorted((store / "runs").iterdir()) == runs
