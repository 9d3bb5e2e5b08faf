"""Where the main job's model comes from, which models saw an image, and the run once more."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.commands import NUM_STEPS, MainJob, jobs, jobs_here


def test_a_champion_by_its_alias(main_job: MainJob) -> None:
    result = main_job.result
    known, printed = jobs_here(main_job.store, "lineage", f"models:/{result['model']['name']}@champion")
    assert known["model"]["uri"] == result["run"]["model_uri"]
    assert known["run"]["steps"] == NUM_STEPS
    assert known["data"]["fingerprint"] == result["prepared"]["fingerprint"]
    assert len(known["code"]) == len(known["libraries"]) == len(known["devices"]) == 1
    assert [entry["model_sha256"] for entry in known["ledger"]] == [known["model"]["sha256"]]
    assert known["report"]["metrics"]["PQ"] == result["PQ"]
    assert known["reproduce"] in printed


def test_an_image_that_it_was_trained_on(main_job: MainJob) -> None:
    raw = next((main_job.store / "raw").glob("shapes-*"))
    for split, models in (("train", [main_job.result["run"]["model_uri"]]), ("val", [])):
        image = next((raw / split).iterdir())
        by_file, _ = jobs_here(main_job.store, "lineage", "--image", str(image))
        by_hash, _ = jobs_here(main_job.store, "lineage", "--image", hashlib.sha256(image.read_bytes()).hexdigest())
        assert by_hash["models"] == models
        assert {seen["split"] for seen in by_hash["seen"]} == {split}
        assert set(by_file["models"]) >= set(models)


@pytest.mark.slow
def test_the_same_weights_come_out_again(main_job: MainJob, tmp_path: Path) -> None:
    uri = main_job.result["run"]["uri"]
    result, printed = jobs(main_job.store, "reproduce", uri)
    assert result["identical"], printed
    assert result["differences"] == {}
    assert result["run_uri_again"] != uri
    again, _ = jobs(main_job.store, "reproduce", uri)
    assert again == result
