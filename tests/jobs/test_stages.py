"""Single stages from the command line: what each of them looks for first."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aunet.errors import InputError
from jobs import stages
from jobs.__main__ import main
from pipelines import presets
from pipelines.retrain import retrain
from pipelines.run import run
from pipelines.settings.run_config import RunConfig
from pipelines.tune import QUIET


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))


def first_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words, io.StringIO()) == 2
    return next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))


@pytest.mark.parametrize("verb", ["train", "evaluate", "register", "tune"])
def test_a_stage_prepares_its_data_first(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = first_error(capsys, verb, "camvid_small", "--data.root", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in error


def test_a_search_sets_what_ray_reads_before_the_data_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in QUIET:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    first_error(capsys, "tune", "camvid_small", "--data.root", str(tmp_path / "nowhere"))
    assert QUIET.items() <= os.environ.items()


def test_a_named_run_is_registered_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["register", "camvid_small", "--data.root", str(tmp_path / "nowhere"), "--run", str(tmp_path / "run")]
    assert f"--run {tmp_path / 'run'}: no finished run" in first_error(capsys, *words)


@pytest.mark.parametrize("stage", [stages.train, stages.evaluate, stages.register, stages.tune, run, retrain])
def test_an_address_of_mlflow_that_cannot_be_one_is_refused_before_any_work(
    stage: Callable[[RunConfig], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://me:secret@host/db")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI = 'mysql://\*\*\*@host/db': the driver MySQLdb is not"):
        stage(presets.shapes_smoke())
    assert not Path(os.environ["AUNET_STORE"]).exists()
