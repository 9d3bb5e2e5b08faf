"""What the tests of this folder share: a small raw data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aunet.data.shapes import write_scenes

    folder = tmp_path_factory.mktemp("raw")
    write_scenes(folder, num_train=5, num_val=2, height=64, width=80)
    return folder


@pytest.fixture
def raw(pristine: Path, tmp_path: Path) -> Path:
    """A data set of five and two scenes, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "raw"))
