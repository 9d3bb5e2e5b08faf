"""Runs in a store, written by hand: real prepared data, a model folder that looks like one, and events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aunet.data.shapes import write_scenes
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from tests.preparing import config_of, preprocess_here


def prepared_scenes(root: Path, num_train: int = 3, seed: int = 0) -> tuple[RunConfig, PreparedData]:
    write_scenes(root, num_train=num_train, num_val=2, height=64, width=64, seed=seed)
    config = config_of(root)
    return config, preprocess_here(config)


def finished_run(config: RunConfig, prepared: PreparedData, name: str = "test-1", **facts: Any) -> TrainedRun:
    """A finished run; `facts` are those of its workers."""
    folder = Store.here().run(name)
    model = Path(folder.model_uri)
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"run": to_json(config)}))
    (model / "model.safetensors").write_bytes(facts.pop("weights_content", b"weights"))
    write_hashes(model)
    folder.history.append(
        [
            {"kind": "origin", "step": 0, "prepared": prepared.uri, "data": prepared.fingerprint, "code": "c1"},
            {"kind": "resume", "step": 0, "libraries": "torch 2", "device": "x86_64", **facts},
        ]
    )
    folder.write_config(to_json(config))
    run = TrainedRun(uri=folder.uri, fingerprint=name, model_uri=folder.model_uri, mlflow_run_id="m", steps=7)
    folder.finish(run)
    return run


def reported(run: TrainedRun, prepared: PreparedData, validation: str, **changes: Any) -> None:
    """A report of a run on other data; entries are changed as given, and left out where None is."""
    document = {
        "prepared_uri": prepared.uri,
        "data_fingerprint": prepared.fingerprint,
        "val_fingerprint": validation,
        **changes,
    }
    path = Path(RunFolder(run.uri).report(validation).document_uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: entry for key, entry in document.items() if entry is not None}))
