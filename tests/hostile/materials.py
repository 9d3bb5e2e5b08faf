"""Pristine inputs, made once: a data set, a model, a finished run with its report, prepared data."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file

from aunet.config import AugmentConfig, FusionConfig
from aunet.data.shapes import write_scenes
from aunet.model import build_model
from aunet.model_files import CONFIG, WEIGHTS
from aunet.predictor import Predictor
from pipelines.presets import shapes_smoke
from pipelines.settings.run_config import to_json
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.database import client
from tests.hostile.arena import Arena
from tests.preparing import config_of, preprocess_here
from tests.tiny import CATEGORIES, TINY

RUN_ID = "0123456789abcdef"


def make_materials(arena: Arena) -> None:
    """Fill `arena.materials`: `raw`, `model`, `store` (a run with its report) and `prepared` (in a store)."""
    torch.manual_seed(0)
    write_scenes(arena.materials / "raw", num_train=2, num_val=1, height=64, width=80)
    write_model(arena.materials / "model")
    _write_store(arena.materials / "store", arena.materials / "model", arena.work / "store")
    with mock.patch.dict(os.environ, {"AUNET_STORE": str(arena.materials / "prepared")}):
        preprocess_here(config_of(arena.materials / "raw"))
    with mock.patch.dict(os.environ, {"MLFLOW_TRACKING_URI": f"sqlite:///{arena.materials}/mlflow.db"}):
        client()


def write_model(folder: Path) -> None:
    """A model folder of an untrained network."""
    folder.mkdir(parents=True)
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,), max_size=96), FusionConfig())
    save_file(model.state_dict(), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(predictor.settings()))
    write_hashes(folder)


def _write_store(store: Path, model: Path, used_as: Path) -> None:
    """A store with one finished, evaluated run; its documents name it as it will be `used_as`."""
    folder, used = store / "runs" / RUN_ID, RunFolder(str(used_as / "runs" / RUN_ID))
    shutil.copytree(model, folder / "model")
    run = TrainedRun(uri=used.uri, fingerprint=RUN_ID, model_uri=used.model_uri, mlflow_run_id="", steps=12)
    metrics = {"PQ": 40.0, "SQ": 80.0, "RQ": 50.0, "AP": 30.0}
    kept = RunFolder(str(folder))
    kept.write_config(to_json(shapes_smoke()))
    kept.finish(run)
    report = Report(
        uri=used.report().document_uri,
        fingerprint="fedcba9876543210",
        metrics=metrics,
        html_uri=used.report().html_uri,
        overlays_uri=used.report().overlays_uri,
    )
    document = {
        **metrics,
        "metrics": metrics,
        "per_class": [],
        "attention": {},
        "model_uri": used.model_uri,
        "mlflow_run_id": "",
        "data_fingerprint": "00112233445566aa",
        "val_fingerprint": "bb00112233445566",
    }
    kept.report().write(report, document)
