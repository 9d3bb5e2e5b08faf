"""Evaluation: what a report leaves in the store and in MLflow, and what it is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.data.manifest import Manifest
from pipelines.evaluate import evaluate
from pipelines.measuring.measured import read_measured, reports_with_outcomes
from pipelines.settings.overrides import override
from pipelines.settings.run_config import fingerprint
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.hashes import digest
from pipelines.store.layout import Store
from pipelines.store.ledger import LedgerEntry
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.database import client
from tests.nights import Nights
from tests.preparing import preprocess_here


@pytest.mark.parametrize("deleted", [False, True])
def test_what_mlflow_lacks_of_the_training_is_delivered(
    deleted: bool, raw: Path, mlflow_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its server was away at the end of the training, or somebody deleted the run."""
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    run = nights.train(nights.config, prepared)
    RunFolder(run.uri).history.append([{"kind": "step", "step": 1, "at": 5.0, "loss": 2.0}])
    if deleted:
        client().delete_run(run.mlflow_run_id)
    report = evaluate(nights.config, run, prepared, measure=nights.measure)
    document = json.loads(Path(report.uri).read_text())
    run_id = document["mlflow_run_id"]
    assert (run_id != run.mlflow_run_id) == deleted
    assert run_id.encode() in Path(report.html_uri).read_bytes()
    tracked = client().get_run(run_id)
    assert (tracked.info.status, tracked.data.params["train.lr"]) == ("FINISHED", str(nights.config.train.lr))
    assert [(m.step, m.timestamp) for m in client().get_metric_history(run_id, "loss")] == [(1, 5000)]
    assert tracked.data.metrics["PQ"] == 40.0
    assert (f"{run_id} replaces it" in capsys.readouterr().err) == deleted


def crown(run: TrainedRun) -> None:
    """Make the model of a run the champion."""
    entry = LedgerEntry(
        action="adopt", model_uri=run.model_uri, model_sha256=digest(run.model_uri), version=1, why="for a test"
    )
    Store.here().ledger("aunet-camvid").append(entry, None)


def test_the_outcomes_are_beside_the_report(raw: Path, mlflow_store: Path) -> None:
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    run = nights.train(nights.config, prepared)
    folder = RunFolder(run.uri).report()
    folder.parts("0123456789abcdef").write(0, {})
    evaluate(nights.config, run, prepared, measure=nights.measure)
    measured = read_measured(reports_with_outcomes(RunFolder(run.uri))[folder.split_fingerprint()])
    counts = measured.outcomes.counts(measured.categories)
    assert counts.quality(measured.categories).all.pq == pytest.approx(40.0)
    assert folder.left_parts() == [], "what was measured is in the report now"


def test_a_report_of_an_earlier_version_is_made_anew(raw: Path, mlflow_store: Path) -> None:
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    run = nights.train(nights.config, prepared)
    folder, validation = RunFolder(run.uri).report(), Manifest.load(prepared.uri).split_fingerprint("val")
    earlier = fingerprint(run.fingerprint, validation, nights.config.fusion, nights.config.augment)
    fields = {"uri": folder.document_uri, "html_uri": "", "overlays_uri": "", "metrics": {}}
    folder.write(Report(fingerprint=earlier, **fields), {"val_fingerprint": validation})
    assert reports_with_outcomes(RunFolder(run.uri)) == {}
    evaluate(nights.config, run, prepared, measure=nights.measure)
    assert list(reports_with_outcomes(RunFolder(run.uri))) == [validation]


def test_an_earlier_report_does_not_stand_beside_new_outcomes(raw: Path, mlflow_store: Path) -> None:
    """A report is made anew, and that ends after its outcomes are written."""
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    run = nights.train(nights.config, prepared)
    folder = RunFolder(run.uri).report()
    fields = {"uri": folder.document_uri, "html_uri": "", "overlays_uri": "", "metrics": {}}
    folder.write(Report(fingerprint="earlier", **fields), {"val_fingerprint": "another split"})
    Path(folder.html_uri).mkdir()
    with pytest.raises(OSError, match="directory"):
        evaluate(nights.config, run, prepared, measure=nights.measure)
    assert Path(folder.outcomes_uri).exists() and reports_with_outcomes(RunFolder(run.uri)) == {}


def test_pictures_of_an_earlier_report_go(raw: Path, mlflow_store: Path) -> None:
    """Other images are the worst with other settings: the old predictions would stand under the new figures."""
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    run = nights.train(nights.config, prepared)
    folder = RunFolder(run.uri).report()
    earlier = [Path(uri, "7.png") for uri in (folder.overlays_uri, folder.attention_uri)]
    for path in earlier:
        path.parent.mkdir()
        path.write_bytes(b"")
    evaluate(nights.config, run, prepared, measure=nights.measure)
    assert not any(path.exists() for path in earlier)


def test_a_challenger_is_compared_with_the_champion(raw: Path, mlflow_store: Path) -> None:
    """By its outcomes on the same split; the champion itself is compared with nobody."""
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    champion = nights.train(nights.config, prepared)
    evaluate(nights.config, champion, prepared, measure=nights.measure)
    crown(champion)
    document = json.loads(Path(RunFolder(champion.uri).report().document_uri).read_text())
    assert document["comparison"] is None and document["champion"] is None
    assert document["uncompared"] == "no champion to compare with"
    again = evaluate(override(nights.config, {"fusion.stuff_area": 5}), champion, prepared, measure=nights.measure)
    assert b"this model is models:/aunet-camvid@champion (version 1)." in Path(again.html_uri).read_bytes()
    config = override(nights.config, {"train.seed": 1})
    challenger = nights.train(config, prepared)
    nights.pq[challenger.uri] = 45.0
    evaluate(config, challenger, prepared, measure=nights.measure)
    document = json.loads(Path(RunFolder(challenger.uri).report().document_uri).read_text())
    assert document["comparison"]["PQ"]["difference"] == pytest.approx(5.0)
    assert document["champion"] == "models:/aunet-camvid@champion (version 1)"
    Path(RunFolder(champion.uri).report().document_uri).unlink()
    page = Path(evaluate(config, challenger, prepared, apart=True, measure=nights.measure).html_uri).read_bytes()
    assert b"(version 1), which was not measured on these images." in page and b"First model" not in page


@pytest.mark.parametrize("damage", [b"", b"PAR1 and nothing else PAR1", None])
def test_damaged_outcomes_of_the_champion_cost_only_the_comparison(
    damage: bytes | None, raw: Path, mlflow_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nights = Nights(raw, mlflow_store)
    prepared = preprocess_here(nights.config)
    champion = nights.train(nights.config, prepared)
    evaluate(nights.config, champion, prepared, measure=nights.measure)
    crown(champion)
    outcomes = Path(RunFolder(champion.uri).report().outcomes_uri)
    outcomes.unlink() if damage is None else outcomes.write_bytes(damage)
    config = override(nights.config, {"train.seed": 1})
    report = evaluate(config, nights.train(config, prepared), prepared, measure=nights.measure)
    assert json.loads(Path(report.uri).read_text())["comparison"] is None
    assert ("not compared with the champion" in capsys.readouterr().err) == (damage is not None)
