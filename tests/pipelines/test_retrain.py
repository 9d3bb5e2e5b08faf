"""Ticks of a scheduled retraining: what they decide, and what follows when one ends half-way. Nothing is trained."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.evaluate import evaluate
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store import lease, storage
from pipelines.store.artifacts import PreparedData, RegisteredModel, Report, TrainedRun
from pipelines.store.holding import Holding
from pipelines.tracking import database, registry
from tests.nights import Nights, artifacts
from tests.preparing import preprocess_here
from tests.promotions import Crash, crash_before

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def nights(raw: Path, tmp_path: Path) -> Nights:
    return Nights(raw, tmp_path / "store")


def test_three_nights(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    first = nights.tick()
    assert (first.action, first.decision, artifacts(first).report.metrics["PQ"]) == ("trained", "promoted", 40.0)
    assert "first tick, 5 train and 2 val images" in first.reason and "nobody held it before" in first.reason
    assert artifacts(first).model.alias == "champion"

    again = nights.tick()
    assert (again.action, again.decision, again.key) == ("nothing", None, first.key)
    assert again.reason.startswith("nothing new since the tick of ") and "PQ" not in again.to_json()
    for name in ("prepared", "run", "report", "model"):
        assert getattr(again, name) == getattr(first, name)

    nights.grow(8)
    second = nights.tick()
    assert (second.action, second.decision) == ("trained", "held")
    assert second.reason == (
        "3 new images, 0 gone; champion stays with version 1: version 2 has PQ 40.00 against version 1's 40.00, "
        "+0.00 [+0.00, +0.00] on 20 images with margin 0.5; both are equal: the same counts in every image"
    )
    assert nights.tick().action == "nothing"
    assert len(nights.trained) == 2 and list(nights.versions) == ["2", "1"] and nights.champion == "1"
    stderr = capsys.readouterr().err
    assert "retrain · camvid_small · 3 new images, 0 gone\n" in stderr
    assert "register aunet-camvid: champion stays with version 1: version 2 has PQ 40.00" in stderr


def test_the_registry_and_the_run_tell_what_was_decided(nights: Nights) -> None:
    tick = nights.tick()
    made, tags = artifacts(tick), nights.versions["1"]
    assert (tags["decision"], tags["PQ"]) == ("promoted", "40.0000")
    assert tags["reason"] in tick.reason
    run = database.client().get_run(made.run.mlflow_run_id)
    assert run.data.tags["retrain_key"] == tick.key
    assert run.data.metrics == {
        f"val_{tags['val_fingerprint']}/{name}": tick.to_json()[name] for name in ("PQ", "PQ_th")
    }
    assert Path(made.report.uri) == Path(made.run.uri) / "reports" / tags["val_fingerprint"] / "report.json"


def test_every_night_is_measured_on_the_first_ones_images(nights: Nights) -> None:
    frozen = artifacts(nights.tick()).prepared.uri
    nights.grow(8, num_val=4)
    later = artifacts(nights.tick()).prepared
    assert later.uri != frozen and later.num_images["val"] == 4
    assert [data for _, data in nights.measured] == [frozen, frozen]
    assert len({tags["val_fingerprint"] for tags in nights.versions.values()}) == 1


def test_new_code_and_new_settings_are_new_work(nights: Nights) -> None:
    nights.tick()
    changed = nights.tick({"loss.semantic": 0.3})
    assert changed.action == "trained" and "new are the code, the settings or the frozen set" in changed.reason
    assert nights.tick(code="other").action == "trained"
    assert nights.tick({"fusion.stuff_area": 9}).action == "trained", "a model is released with its training's fusion"
    assert len(nights.trained) == len(set(nights.trained)) == 4


@pytest.mark.parametrize(
    "changes", [{"cluster.image": "other"}, {"tune.seed": 3}, {"retrain.lease_seconds": 7.0}, {"version": "mine"}]
)
def test_what_changes_no_weights_is_no_work(nights: Nights, changes: dict[str, Any]) -> None:
    nights.tick()
    assert nights.tick(changes).action == "nothing"


def hand_made(nights: Nights, pq: float) -> TrainedRun:
    """A champion of other validation data, trained and registered without `retrain`."""
    config = override(nights.config, {"train.seed": 7, "fusion.stuff_area": 11, "register.margin": 0.0})
    nights.grow(5, num_val=1)
    prepared = preprocess_here(config)
    run = nights.train(config, prepared)
    nights.pq[run.uri] = pq
    report = evaluate(config, run, prepared, measure=nights.measure)
    assert nights.register(config, report).alias == "champion"
    nights.grow(5, num_val=2)
    return run


@pytest.mark.parametrize(("on_frozen", "decision"), [(39.0, "promoted"), (39.6, "held")])
def test_a_champion_of_other_data_is_measured_first(nights: Nights, on_frozen: float, decision: str) -> None:
    run = hand_made(nights, 90.0)
    own_report = Path(run.uri, "report.json").read_bytes()
    nights.pq[run.uri] = on_frozen
    made = nights.tick()
    assert made.decision == decision
    assert f"PQ 40.00 against version 1's {on_frozen:.2f}, +" in made.reason and "with margin 0.5" in made.reason
    new, frozen = artifacts(made).run.model_uri, artifacts(made).prepared.uri
    assert nights.measured[-2:] == [(run.model_uri, frozen), (new, frozen)], "so that the page compares the two"
    assert json.loads(Path(artifacts(made).report.uri).read_bytes())["comparison"] is not None
    assert nights.versions["1"]["val_fingerprint"] == nights.versions["2"]["val_fingerprint"]
    assert Path(run.uri, "report.json").read_bytes() == own_report
    metrics = database.client().get_run(run.mlflow_run_id).data.metrics
    assert metrics["PQ"] == 90.0 and metrics[f"val_{nights.versions['1']['val_fingerprint']}/PQ"] == on_frozen


def test_a_champion_that_cannot_be_measured_stays(nights: Nights) -> None:
    run = hand_made(nights, 10.0)
    shutil.rmtree(run.uri)
    made = nights.tick()
    assert made.decision == "held" and nights.champion == "1"
    assert "the champion, version 1, has no report on validation data" in made.reason
    assert "version 1 could not be measured: " in made.reason


def test_while_a_tick_runs_another_does_nothing(nights: Nights) -> None:
    with lease.hold(str(nights.store / "retrain/camvid_small/lease"), 100) as held:
        result = nights.tick()
    assert result.action == "nothing" and result.key is None
    assert result.reason.startswith(f"another tick holds the lease: {held.record.holder} since 20")
    assert nights.trained == []


def test_a_tick_that_is_started_again_outlives_its_lost_machine(nights: Nights) -> None:
    """As a RayJob's second try does, minutes before the lease expires."""
    holding = dataclasses.replace(Holding.begin(1.5, time.time()), process="another-boot/pid:[4026531836]/7/70")
    uri = str(nights.store / "retrain/camvid_small/lease/000001.json")
    storage.write_bytes(uri, holding.to_bytes())
    assert nights.tick().action == "trained"


def test_a_tick_that_was_overtaken_commits_nothing(nights: Nights) -> None:
    def overtaken(config: RunConfig, prepared: PreparedData) -> TrainedRun:
        folder = nights.store / "retrain/camvid_small/lease"
        shutil.copy(folder / "000001.json", folder / "000002.json")
        return train(config, prepared)

    train, nights.train = nights.train, overtaken
    with pytest.raises(lease.Lost, match="taken by"):
        nights.tick()
    assert nights.versions == {} and not list(nights.store.glob("retrain/*/ticks/*"))


@pytest.mark.parametrize("kind", ["overtaken", "expired"])
def test_a_holder_that_was_suspended_during_register_does_not_move_the_alias(nights: Nights, kind: str) -> None:
    """It was still the holder when registering began."""

    def suspended(config: RunConfig, report: Report, **options: Any) -> RegisteredModel:
        folder = nights.store / "retrain/camvid_small/lease"
        record = json.loads((folder / "000001.json").read_text())
        fence = options["fence"]
        if kind == "overtaken":
            (folder / "000002.json").write_text(json.dumps({**record, "token": "another"}))
        else:
            fence.__self__._now = lambda: record["expires"] + 1.0
        return registered(config, report, **options)

    registered, nights.register = nights.register, suspended
    with pytest.raises(lease.Lost, match="taken by" if kind == "overtaken" else "expired at"):
        nights.tick()
    assert registry.alias_holder("aunet-camvid", "champion") is None and list(nights.versions) == ["1"]
    assert not list(nights.store.glob("retrain/*/ticks/*"))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"prepared": 1}', '{"val_fingerprint": NaN}'])
@pytest.mark.parametrize("name", ["frozen.json", "ticks"])
def test_a_damaged_document_is_one_line_with_the_cure(nights: Nights, name: str, content: str) -> None:
    nights.tick()
    (path,) = nights.store.glob(f"retrain/camvid_small/{name}*/*" if name == "ticks" else f"retrain/*/{name}")
    path.write_text(content)
    for prepare in (lambda: None, lambda: nights.grow(8)):
        prepare()
        with pytest.raises(InputError, match=rf"{path.name}.*; (delete it|delete the file) ") as caught:
            nights.tick()
        assert len(caught.value.problems) == 1
    path.unlink()
    assert nights.tick().action == "trained"


def test_a_name_that_leaves_the_store_is_refused(nights: Nights) -> None:
    before = sorted(nights.store.parent.rglob("*"))
    for name in ("../../x", "/absolute", "a/b", ""):
        with pytest.raises(InputError, match="not a name"):
            nights.tick({"name": name})
    assert sorted(nights.store.parent.rglob("*")) == before


def test_data_that_change_during_the_training_are_the_next_ticks(nights: Nights) -> None:
    def growing(config: RunConfig, prepared: PreparedData) -> TrainedRun:
        nights.grow(7)
        return train(config, prepared)

    train, nights.train = nights.train, growing
    made = artifacts(nights.tick())
    assert made.prepared.num_images["train"] == 5
    tick = nights.tick()
    later = artifacts(tick)
    assert later.prepared.num_images["train"] == 7 and tick.reason.startswith("2 new images, 0 gone")
    assert nights.trained == [made.run.uri, later.run.uri]


def test_frozen_anew_the_models_are_compared_again(nights: Nights) -> None:
    first = artifacts(nights.tick()).run
    nights.grow(8, num_val=4)
    nights.tick()
    (nights.store / "retrain/camvid_small/frozen.json").unlink()
    tick = nights.tick()
    again = artifacts(tick)
    assert tick.action == "trained" and len(nights.trained) == 2
    assert "or the frozen set; trained already; champion stays with version 1" in tick.reason
    assert [Path(model).parent for model, _ in nights.measured[2:]] == [Path(first.uri), Path(again.run.uri)]
    assert {data for _, data in nights.measured[2:]} == {again.prepared.uri}


def test_a_frozen_set_that_is_gone_is_named(nights: Nights) -> None:
    frozen = Path(artifacts(nights.tick()).prepared.uri)
    nights.grow(8)
    shutil.rmtree(frozen)
    with pytest.raises(InputError, match=str(frozen)):
        nights.tick()


def test_other_categories_than_the_frozen_sets_are_refused_before_training(nights: Nights) -> None:
    nights.tick()
    for split in ("train", "val"):
        path = nights.raw / f"annotations/panoptic_{split}.json"
        document = json.loads(path.read_text())
        document["categories"].append({"id": 99, "name": "boat", "isthing": 1})
        path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="delete the file to freeze anew"):
        nights.tick()
    assert len(nights.trained) == 1


def test_a_lease_shorter_than_a_breath_is_refused(nights: Nights) -> None:
    with pytest.raises(InputError, match=r"retrain\.lease_seconds = 1\.0: use a number at least 3"):
        nights.tick({"retrain.lease_seconds": 1.0})


def test_a_tick_may_end_anywhere(nights: Nights, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was the last thing a tick did, the next one comes to the same end, and nothing is done twice."""
    crashes = 0
    while True:
        nights.store = nights.raw.with_name(f"store-{crashes}")
        nights.store.mkdir()
        shutil.copy(mlflow_file, nights.store)
        monkeypatch.setenv("AUNET_STORE", str(nights.store))
        nights.trained.clear()
        with monkeypatch.context() as patch:
            crash_before(patch, crashes + 1)
            try:
                nights.tick()
                break
            except Crash:
                crashes += 1
        shutil.rmtree(nights.store / "retrain/camvid_small/lease", ignore_errors=True)  # as if it had expired
        made = nights.tick()
        assert artifacts(made).model.version == 1 and nights.champion == "1", f"write {crashes}"
        assert len(nights.versions) == 1 and len(set(nights.trained)) == 1, f"write {crashes}"
        assert nights.versions["1"]["reason"] == "champion is version 1 with PQ 40.00; nobody held it before"
        assert len(list(nights.store.glob("retrain/*/ticks/*.json"))) == 1
        if made.action == "trained":
            assert "promoted" == made.decision and "nobody held it before" in made.reason
    assert crashes > 15
