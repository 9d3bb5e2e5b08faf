"""The driver while it waits for the last measurements; what it does in an attempt is in test_supervision.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from pipelines import presets
from pipelines.runtime.interruption import Preempted, Signals
from pipelines.settings.overrides import override
from pipelines.store.artifacts import PreparedData
from pipelines.store.history import History
from pipelines.store.lease import acquire
from pipelines.store.run_folder import RunFolder
from pipelines.training.driver import Driver
from pipelines.training.record import RunRecord


def waiting_driver(folder: RunFolder, signals: Signals) -> Driver:
    """A driver of a run that is trained and has one measurement that never comes."""
    config = override(presets.shapes_smoke(), {"train.validate": "beside", "train.evaluate_every": 1})
    prepared = PreparedData(uri="prepared", fingerprint="f", num_images={"train": 512, "val": 64})
    driver = Driver(config, prepared, folder, acquire(folder.in_use_uri, 60), signals, [], None, None, "")
    driver.validations = mock.Mock(waiting=["one"], poll=lambda seconds: [])
    return driver


@pytest.mark.parametrize(("name", "error"), [("SIGTERM", Preempted), ("SIGINT", KeyboardInterrupt)])
def test_a_signal_ends_the_wait_for_measurements(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    folder, signals = RunFolder(str(tmp_path / "run")), Signals()
    driver = waiting_driver(folder, signals)
    signals.name = name
    last = SimpleNamespace(complete=lambda: [SimpleNamespace(step=driver.plan.num_steps)])
    with mock.patch.object(RunFolder, "checkpoints", last), pytest.raises(error):
        driver._release(RunRecord(History(folder.uri), []))
