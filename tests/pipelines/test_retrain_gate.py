"""Ticks and the gate: frozen images, a champion that changes meanwhile, and an alias that was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError, Refused
from pipelines.evaluate import evaluate
from pipelines.measuring.evaluation import Evaluation
from pipelines.promote import promote
from pipelines.report import report
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.tracking import database
from tests.nights import Nights, artifacts
from tests.preparing import preprocess_here
from tests.promotions import no_rehearsal

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def nights(raw: Path, tmp_path: Path) -> Nights:
    return Nights(raw, tmp_path / "store")


def test_a_frozen_image_that_moved_into_training_is_refused_before_training(nights: Nights) -> None:
    nights.tick()
    document = json.loads((nights.raw / "annotations/panoptic_val.json").read_text())
    training = nights.raw / "annotations/panoptic_train.json"
    known = json.loads(training.read_text())
    image, annotation = document["images"][0], document["annotations"][0]
    shutil.copy(nights.raw / "val" / image["file_name"], nights.raw / "train" / f"moved-{image['file_name']}")
    folder = nights.raw / "annotations"
    shutil.copy(folder / "panoptic_val" / annotation["file_name"], folder / "panoptic_train/moved.png")
    known["images"].append({**image, "id": 9001, "file_name": f"moved-{image['file_name']}"})
    known["annotations"].append({**annotation, "image_id": 9001, "file_name": "moved.png"})
    training.write_text(json.dumps(known))
    with pytest.raises(InputError, match=r"frozen image \d+ is in the training data now: .* bytes as moved-.*take it"):
        nights.tick()
    assert len(nights.trained) == 1 and nights.champion == "1"


def test_a_tick_with_nothing_new_repairs_mlflow(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    nights.tick()
    database.client().delete_registered_model_alias("aunet-camvid", "champion")
    assert nights.tick().action == "nothing" and nights.champion == "1"
    assert "repairing: aunet-camvid: champion is no version, by entry 1 of the ledger" in capsys.readouterr().err


def test_a_champion_that_changes_while_a_tick_measures_is_compared_with_too(nights: Nights) -> None:
    nights.tick()
    nights.grow(8)
    other = override(nights.config, {"train.seed": 7, "register.margin": 0.0})
    measure = nights.measure

    def faster(config: RunConfig, run: TrainedRun, prepared: PreparedData) -> Evaluation:
        if len(nights.trained) == 2:
            rival = nights.train(other, prepared)
            nights.pq[rival.uri] = 60.0
            assert nights.register(other, evaluate(other, rival, prepared, measure=measure)).alias == "champion"
        return measure(config, run, prepared)

    nights.measure = faster
    held = nights.tick()
    assert (
        held.decision == "held"
        and "stays with version 2: version 3 has PQ 40.00 against version 2's 60.00" in held.reason
    )


def test_other_categories_than_the_champions_are_refused_before_training(nights: Nights) -> None:
    """Data are frozen anew, or use a preset's name in the registry: the gate would refuse after a night of training."""
    nights.tick()
    shutil.rmtree(nights.store / "retrain")
    document: dict[str, Any] = {}
    for path in (nights.raw / "annotations").glob("panoptic_*.json"):
        document = json.loads(path.read_text())
        document["categories"].append({"id": 99, "name": "boat", "isthing": 1})
        path.write_text(json.dumps(document))
    model = next((nights.store / "runs").glob("*/model"))
    settings = json.loads((model / "config.json").read_text())
    known = [c for c in document["categories"] if c["name"] != "boat"]
    (model / "config.json").write_text(json.dumps({**settings, "categories": known}))
    with pytest.raises(Refused, match=r"knows other categories .*--register\.model_name NAME"):
        nights.tick()
    assert len(nights.trained) == 1


def test_what_a_night_held_can_be_shown_and_promoted(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    """Its only report is on the frozen set, which is not what the champion was measured on."""
    prepared = preprocess_here(nights.config)
    champion = nights.train(nights.config, prepared)
    nights.register(nights.config, evaluate(nights.config, champion, prepared, measure=nights.measure))
    nights.pq[champion.uri] = 90.0
    nights.grow(8, num_val=3)
    tick = nights.tick()
    assert tick.decision == "held" and nights.champion == "1"
    run = artifacts(tick).run
    assert report(run.uri).report == artifacts(tick).report
    forced = promote("models:/aunet-camvid/2", why="for a test", force=True, rehearse=no_rehearsal)
    assert (forced.alias, nights.champion) == ("champion", "2")


def test_a_preset_of_ones_own_is_no_new_code(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def version(*, own_presets: bool = True) -> str:
        asked.append(own_presets)
        return f"code {own_presets}"

    monkeypatch.setattr("pipelines.retrain.code_version", version)
    nights.tick()
    assert asked and not any(asked)
