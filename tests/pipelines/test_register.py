"""Registering evaluated runs: versions, the gate before the alias, and reports that are not there."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.evaluate import find_report
from pipelines.measuring.gating.evidence import read_evidence
from pipelines.measuring.gating.promotion import update_figures
from pipelines.measuring.outcome_table import to_parquet
from pipelines.register import register as register_rehearsed
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import RegisteredModel, Report, TrainedRun
from pipelines.store.hashes import digest, write_hashes
from pipelines.store.layout import Store
from pipelines.tracking.database import client
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.canaries import CANARY, leaks
from tests.promotions import ONE_CLASS, make_model, make_report, no_rehearsal, outcomes_of

CONFIG = override(presets.shapes_smoke(), {"register.margin": 0.5, "register.model_name": "aunet"})


pytestmark = pytest.mark.usefixtures("mlflow_store")


def register(config: RunConfig, report: Report, **options: Any) -> RegisteredModel:
    """Models here are no networks."""
    given: dict[str, Any] = {"rehearse": no_rehearsal} | options
    return register_rehearsed(config, report, **given)


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    """Makes a run with a report of the given PQ; returns the report."""
    return partial(make_report, tmp_path / "store/runs")


def test_the_alias_moves_only_for_a_better_model(evaluated, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = register(CONFIG, evaluated("first", 40.0))
    assert (first.uri, first.name, first.version, first.alias) == ("models:/aunet/1", "aunet", 1, "champion")
    assert first.fingerprint == "first"

    near = register(CONFIG, evaluated("near", 40.2))
    assert (near.version, near.alias) == (2, None) and "not better by the margin" in near.reason
    assert "champion stays with version 1" in capsys.readouterr().err
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/first/model")

    better = register(CONFIG, evaluated("better", 41.0))
    assert (better.version, better.alias) == (3, "champion")
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/better/model")
    assert resolve_model("models:/aunet/2") == str(tmp_path / "store/runs/near/model")


def test_twice_is_once(evaluated) -> None:
    report = evaluated("only", 40.0)
    assert register(CONFIG, report) == register(CONFIG, report)
    assert len(client().search_model_versions("name='aunet'")) == 1


def test_a_version_carries_its_figures_and_its_data(evaluated) -> None:
    report = evaluated("only", 40.0)
    register(CONFIG, report)
    (version,) = client().search_model_versions("name='aunet'")
    gate = json.loads(version.tags.pop("gate"))
    assert gate["verdict"] == "PROMOTE" and gate["rehearsal"]["size_mb"] == 1.0
    assert version.tags == {
        "PQ": "40.0000",
        "PQ_th": "30.0000",
        "data_fingerprint": "abc",
        "val_fingerprint": "val1",
        "report_uri": report.uri,
        "model_sha256": digest(str(version.source)),
        "decision": "promoted",
        "reason": "champion is version 1 with PQ 40.00; nobody held it before",
        "ledger_entry": "1",
    }


def test_the_ledger_has_what_the_decision_was_made_from(evaluated, tmp_path: Path) -> None:
    register(CONFIG, evaluated("first", 40.0))
    report = evaluated("better", 50.0)
    better = register(CONFIG, report)
    first, head = Store.here().ledger("aunet").entries()
    assert (first.action, first.version, first.previous, head.action, head.previous) == (
        "promote",
        1,
        None,
        "promote",
        1,
    )
    assert head.why == better.reason and head.figures == {"PQ": 50.0, "PQ_th": 30.0}
    assert (head.run_id, head.report_uri, head.val_fingerprint) == ("better", report.uri, "val1")
    assert head.model_sha256 == digest(head.model_uri) and head.verdict == head.gate["verdict"] == "PROMOTE"
    assert head.gate["comparison"]["PQ"]["difference"] == pytest.approx(10.0)
    assert "the frozen images are not in this store: they were not checked" in head.gate["notes"]


def test_equal_models_are_not_promoted(evaluated) -> None:
    config = override(CONFIG, {"register.margin": 0.0})
    register(config, evaluated("first", 40.0))
    held = register(config, evaluated("second", 40.0))
    assert held.alias is None and "both are equal: the same counts in every image" in held.reason


def test_a_model_that_cannot_be_used_is_held_even_if_it_is_the_first(evaluated) -> None:
    held = register_rehearsed(CONFIG, evaluated("text", 40.0))
    assert held.alias is None and alias_holder("aunet", "champion") is None
    assert held.reason.startswith("nobody holds champion; version 1 does not receive it: PQ 40.00")
    assert "it cannot be used in a fresh process: " in held.reason and "config.json" in held.reason
    assert client().get_model_version("aunet", "1").tags["decision"] == "held"


def test_figures_of_other_validation_data_are_not_compared(evaluated, tmp_path: Path) -> None:
    first = register(CONFIG, evaluated("first", 40.0))
    other = evaluated("other", 90.0, val_fingerprint="val2")
    held = register(CONFIG, other)
    assert (held.version, held.alias) == (2, None)
    assert "stays with version 1" in held.reason
    assert "the champion, version 1, has no report on validation data val2; `retrain` measures both" in held.reason

    run = tmp_path / "store/runs/first"
    (run / "reports/val2").mkdir(parents=True)
    document = json.loads((run / "report.json").read_text())
    again = document | {"val_fingerprint": "val2", "metrics": {"PQ": 41.0}}
    (run / "reports/val2/report.json").write_text(json.dumps(again))
    (run / "reports/val2/outcomes.parquet").write_bytes(to_parquet(outcomes_of(41.0), {}, ONE_CLASS))
    champion = alias_holder("aunet", "champion")
    assert champion is not None and champion.number == first.version
    update_figures(champion, read_evidence(str(run / "reports/val2/report.json")))
    assert client().get_model_version("aunet", "1").tags["PQ"] == "41.0000"
    model = register(CONFIG, other)
    assert model.alias == "champion"
    assert model.reason.startswith("champion moves to version 2: PQ 90.00 against version 1's 41.00, +49.00 [")
    tags = client().get_model_version("aunet", "2").tags
    assert (tags["decision"], tags["reason"]) == ("promoted", model.reason)


def test_a_champion_without_outcomes_is_not_compared(evaluated, tmp_path: Path) -> None:
    register(CONFIG, evaluated("first", 40.0))
    (tmp_path / "store/runs/first/outcomes.parquet").unlink()
    held = register(CONFIG, evaluated("better", 90.0))
    run = tmp_path / "store/runs/first"
    assert held.alias is None
    assert (
        f"version 1 was measured without the outcome of every segment; run `evaluate` with --run {run}" in held.reason
    )


def test_outcomes_that_are_not_the_reports_are_refused(evaluated, tmp_path: Path) -> None:
    report = evaluated("only", 40.0)
    (tmp_path / "store/runs/only/outcomes.parquet").write_bytes(to_parquet(outcomes_of(80.0), {}, ONE_CLASS))
    with pytest.raises(InputError, match=r"outcomes\.parquet: gives PQ 80\.00, .*json says 40\.00; run `eval"):
        register(CONFIG, report)


def test_what_mlflow_says_of_the_champions_quality_decides_nothing(evaluated) -> None:
    register(CONFIG, evaluated("first", 40.0))
    for pq in ("nan", "99", "a lot"):
        client().set_model_version_tag("aunet", "1", "PQ", pq)
    assert register(CONFIG, evaluated("better", 90.0)).alias == "champion"


def test_what_was_decided_is_reported_again(evaluated, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated("only", 40.0)
    first, again = register(CONFIG, report), register(CONFIG, report)
    assert again == first
    assert f"register aunet: champion is version 1, as before: {first.reason}" in capsys.readouterr().err


def test_nobody_holds_an_alias_of_a_model_that_is_not_there(evaluated) -> None:
    assert alias_holder("aunet", "champion") is None
    register(CONFIG, evaluated("only", 40.0))
    assert alias_holder("aunet", "best") is None


def test_unknown_versions_and_aliases_are_named(evaluated) -> None:
    register(CONFIG, evaluated("only", 40.0))
    for uri in ("models:/aunet/7", "models:/aunet@best"):
        with pytest.raises(InputError, match=r"there are versions 1 and aunet@champion"):
            resolve_model(uri)


def test_a_run_without_report_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "nowhere")
    run = TrainedRun(uri=uri, fingerprint="", model_uri="", mlflow_run_id="", steps=1)
    with pytest.raises(InputError, match=r"nowhere/report\.json: no report; run `evaluate` on this run first"):
        find_report(run)


def test_whoever_changes_a_versions_source_does_not_choose_what_is_loaded(evaluated, tmp_path: Path) -> None:
    """A version of the registry's that points to another folder than the one that was registered."""
    register(CONFIG, evaluated("only", 40.0))
    (version,) = client().search_model_versions("name='aunet'")
    other = make_model(tmp_path / "other", "hostile")
    forged = client().create_model_version("aunet", str(other), version.run_id, tags=version.tags)
    client().set_registered_model_alias("aunet", "champion", forged.version)
    with pytest.raises(InputError, match="whose content is not what was registered"):
        resolve_model("models:/aunet@champion")
    bare = client().create_model_version("aunet", str(other), version.run_id)
    with pytest.raises(InputError, match="has no tag model_sha256; run `register` for it"):
        resolve_model(f"models:/aunet/{bare.version}")
    far = client().create_model_version("aunet", f"s3://me:{CANARY}@bucket/x", version.run_id, tags=version.tags)
    with pytest.raises(InputError) as refused:
        resolve_model(f"models:/aunet/{far.version}")
    assert leaks(str(refused.value)) == []
    assert resolve_model("models:/aunet/1") == version.source


def test_a_model_that_was_changed_after_it_was_registered_is_refused(evaluated) -> None:
    report = evaluated("only", 40.0)
    register(CONFIG, report)
    folder = Path(report.uri).parent / "model"
    (folder / "model.safetensors").write_text("other weights")
    write_hashes(folder)
    with pytest.raises(InputError, match="whose content is not what was registered"):
        resolve_model("models:/aunet@champion")
    with pytest.raises(InputError, match="its content is not what it was when it became version 1 of aunet"):
        register(CONFIG, report)
    champion = alias_holder("aunet", "champion")
    assert champion is not None
    with pytest.raises(InputError, match="its content is not what it was"):
        update_figures(champion, read_evidence(report.uri))


def test_the_alias_stays_where_a_fence_says_so(evaluated) -> None:
    """A tick that was suspended until another has taken over."""

    def lost() -> None:
        raise RuntimeError("taken over")

    first = register(CONFIG, evaluated("first", 40.0))
    with pytest.raises(RuntimeError, match="taken over"):
        register(CONFIG, evaluated("better", 50.0), fence=lost)
    holder = alias_holder("aunet", "champion")
    assert holder is not None and holder.number == first.version == 1
    assert "decision" not in client().get_model_version("aunet", "2").tags
    assert register(CONFIG, evaluated("worse", 30.0), fence=lost).alias is None
    assert register(CONFIG, evaluated("best", 60.0), fence=lambda: None).alias == "champion"
