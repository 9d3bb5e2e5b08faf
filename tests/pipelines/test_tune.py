"""`tune` where it has nothing to train: a study that is refused, and one that is finished."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from aunet.errors import Refused
from pipelines import presets
from pipelines.preprocess import preprocess
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.artifacts import TunedWeights
from pipelines.store.layout import Store
from pipelines.store.lease import hold
from pipelines.study.search import study_id
from pipelines.tune import tune


def tiny(**changes: object) -> RunConfig:
    sizes = {"num_train": 2, "num_val": 2, "height": 64, "width": 96}
    return override(
        presets.shapes_smoke(),
        {f"data.shapes.{name}": value for name, value in sizes.items()}
        | {f"tune.{name}": value for name, value in changes.items()},
    )


def test_a_refused_study_leaves_nothing_behind(ray_cluster: None) -> None:
    config = tiny(max_concurrent=3)
    prepared = preprocess(config)
    with pytest.raises(Refused, match=r"tune.max_concurrent = 3 .* has 2: floor\(2 / 1\) = 2"):
        tune(config, prepared)
    names = [path.name for path in Path(os.environ["AUNET_STORE"]).iterdir()]
    assert sorted(names) == ["aunet-store.json", "prepared", "raw"]


def test_of_two_at_once_one_searches(ray_cluster: None) -> None:
    config = tiny()
    prepared = preprocess(config)
    folder = Store.here().study(study_id(config, prepared))
    with (
        hold(folder.lease_uri, 60),
        pytest.raises(Refused, match="another `tune` is working on the same study"),
    ):
        tune(config, prepared)
    assert not storage.exists(folder.record_uri) and not storage.exists(folder.mlflow_id_uri)


def test_a_finished_study_is_returned_at_once(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(confirm_seeds=2)
    prepared = preprocess(config)
    folder = Store.here().study(study_id(config, prepared))
    stored = TunedWeights(
        overrides="somewhere",
        trials=24,
        best={"PQ": 41.5},
        confirmed={},
        confirm_seeds=2,
        study_uri=folder.uri,
        html_uri="",
        val_slice="",
        mlflow_run_id="",
    )
    storage.write_bytes(folder.result_uri, json.dumps(stored.to_json()).encode())
    monkeypatch.setitem(sys.modules, "ray", None)
    assert tune(config, prepared) == stored
    with pytest.raises(ImportError):
        tune(tiny(confirm_seeds=3), prepared)
