"""What the driver makes sure of before Ray sees the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.store.artifacts import PreparedData
from pipelines.training.driver import train_run
from pipelines.training.identity import run_folder
from tests.preparing import config_of


@pytest.mark.parametrize("name", ["../../../victim", "/victim", "model"])
def test_a_list_of_checkpoints_that_names_another_folder_is_refused_before_ray_deletes_it(
    tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    config = config_of(tmp_path / "raw")
    prepared = PreparedData(uri=str(tmp_path / "prepared"), fingerprint="f", num_images={"train": 4, "val": 2})
    folder = Path(run_folder(config, prepared).uri)
    folder.mkdir(parents=True)
    result = {"checkpoint_dir_name": name, "metrics": {"step": 1}}
    snapshot = {"checkpoint_results": [result] * 3, "latest_checkpoint_result": None}
    (folder / "checkpoint_manager_snapshot.json").write_text(json.dumps(snapshot))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        InputError, match=r"checkpoint_manager_snapshot\.json: .*; restore it, or remove the run's folder"
    ):
        train_run(config, prepared)
    assert sorted(tmp_path.rglob("*")) == before
