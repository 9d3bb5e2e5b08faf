"""Evaluation: a model is only measured on data with its own categories; MLflow gets what it lacks of the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.data.manifest import Manifest
from pipelines.evaluate import evaluate
from pipelines.measuring.share import measure_share
from pipelines.settings.overrides import override
from pipelines.settings.run_config import to_json
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.database import client
from pipelines.training.checkpoint import save_model
from tests.nights import Nights
from tests.preparing import preprocess_here
from tests.tiny import CATEGORIES, TINY, with_attention


def test_other_categories_are_refused(raw: Path, tmp_path: Path) -> None:
    config = override(presets.camvid_small(), {"data.root": str(raw)})
    prepared = preprocess_here(config)
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    with pytest.raises(InputError, match=rf"{tmp_path}/model: the model's categories are not those of {prepared.uri}"):
        measure_share(to_json(config), str(tmp_path / "model"), prepared.uri, [0], [])


@pytest.mark.parametrize("attends", [True, False])
def test_shown_images_come_with_their_attention(raw: Path, tmp_path: Path, attends: bool) -> None:
    config = override(presets.camvid_small(), {"data.root": str(raw)})
    prepared = preprocess_here(config)
    network = TINY if attends else with_attention(TINY, pam=False, mam=False)
    categories = Manifest.load(prepared.uri).categories
    model = build_model(network, categories, load_weights=False)
    predictor = Predictor(model, network, categories, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    measured, pictures = measure_share(to_json(config), str(tmp_path / "model"), prepared.uri, [0, 1], [0, 1])
    folders = ["attention", "overlays"] if attends else ["overlays"]
    assert sorted(pictures) == [f"{folder}/{n:012d}.png" for folder in folders for n in (1, 2)]
    assert set(measured.attention.compute()) == ({"pam2", "pam3", "pam4", "pam5", "mam"} if attends else set())


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
    run_id = json.loads(Path(report.uri).read_text())["mlflow_run_id"]
    assert (run_id != run.mlflow_run_id) == deleted
    assert run_id.encode() in Path(report.html_uri).read_bytes()
    tracked = client().get_run(run_id)
    assert (tracked.info.status, tracked.data.params["train.lr"]) == ("FINISHED", str(nights.config.train.lr))
    assert [(m.step, m.timestamp) for m in client().get_metric_history(run_id, "loss")] == [(1, 5000)]
    assert tracked.data.metrics["PQ"] == 40.0
    assert (f"{run_id} replaces it" in capsys.readouterr().err) == deleted
