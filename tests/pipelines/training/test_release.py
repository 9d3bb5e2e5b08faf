"""What a run publishes, and that the run is still its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines import presets
from pipelines.store.holding import Lost
from pipelines.training import release


def taken() -> NoReturn:
    raise Lost("taken by another")


def test_the_model_of_whoever_took_the_run_over_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting a checkpoint may take longer than the lease."""
    checkpoint: Any = None
    monkeypatch.setattr(release, "write_model", lambda *arguments: None)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"theirs")
    with pytest.raises(Lost):
        release.publish(presets.shapes_smoke(), "", checkpoint, str(model), taken)
    assert (model / "model.safetensors").read_bytes() == b"theirs"
