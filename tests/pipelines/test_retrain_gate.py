"""Ticks and the gate: frozen images, a champion that changes meanwhile, and an alias that was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.evaluate import evaluate
from pipelines.measuring.evaluation import Evaluation
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.tracking import database
from tests.nights import Nights

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
