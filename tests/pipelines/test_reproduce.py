"""`reproduce` around a training that is handed in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.reproduce import reproduce
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData, TrainedRun
from tests.ancestors import finished_run, prepared_scenes
from tests.preparing import preprocess_here

pytestmark = pytest.mark.usefixtures("isolation")


@pytest.mark.parametrize(("content", "code"), [(b"weights", 0), (b"others", 2)])
def test_the_run_once_more(content: bytes, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared)
    shutil.rmtree(tmp_path / "raw")

    def retrain(again: RunConfig, data: PreparedData) -> TrainedRun:
        assert (again.train, again.version, data) == (config.train, "again-test-1", prepared)
        return finished_run(again, data, "test-again", weights_content=content, device="another")

    result = reproduce(run.uri, retrain=retrain)
    assert (result.exit_code, result.identical) == (code, code == 0)
    assert result.differences == {"device": ("x86_64", "another")}
    assert "device was x86_64, is another" in capsys.readouterr().err


def test_data_are_prepared_again_and_compared(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared)
    shutil.rmtree(prepared.uri)
    used = []

    def retrain(again: RunConfig, data: PreparedData) -> TrainedRun:
        used.append(data)
        return finished_run(again, data, "test-again")

    assert reproduce(run.uri, prepare=preprocess_here, retrain=retrain).identical
    assert used == [prepared]
    shutil.rmtree(prepared.uri)
    next((tmp_path / "raw/train").iterdir()).unlink()
    with pytest.raises(InputError, match=r"image-missing|was trained on data"):
        reproduce(run.uri, prepare=preprocess_here, retrain=retrain)


def test_a_model_of_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(*prepared_scenes(tmp_path / "raw"))
    model = shutil.copytree(run.model_uri, tmp_path / "model")
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "other"))
    with pytest.raises(InputError, match="no run of this store trained it; set AUNET_STORE"):
        reproduce(str(model))
