"""The main job as a Kubeflow pipeline in kfp's local runner: the same model as from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import TINY_RUN, jobs, weights_hash


def test_the_pipeline_makes_the_same_model(
    main_job: tuple[Path, dict[str, Any], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, store = main_job[0], tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(direct / folder, store / folder)
    words = ["submit", "run", "shapes_smoke", *TINY_RUN, "--target", "kubeflow"]
    result, _ = jobs(store, *words, KF_PIPELINES_ENDPOINT="local")
    assert result["status"] == "SUCCEEDED"
    assert json.loads((store / "pipelines/shapes_smoke.json").read_text())["state"] == "SUCCEEDED"
    assert weights_hash(store) == weights_hash(direct)
    monkeypatch.setenv("AUNET_STORE", str(store))
    from pipelines import tracking

    version = tracking.client().get_model_version_by_alias("aunet-shapes", "champion")
    assert version.source and version.source.startswith(str(store))
