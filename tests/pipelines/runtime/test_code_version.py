"""The code's name changes when a source changes, and with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def version_of(folder: Path, arguments: str = "") -> str:
    code = f"from pipelines.runtime.code_version import code_version; print(code_version({arguments}))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_a_copy_has_the_same_version_until_a_source_changes(tmp_path: Path) -> None:
    for room in ("aunet", "pipelines"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    here, copied = version_of(ROOT), version_of(tmp_path)
    assert len(here) == 12 and copied == here
    (tmp_path / "pipelines" / "notes.txt").write_text("no source")
    assert version_of(tmp_path) == here
    without_presets = version_of(tmp_path, "own_presets=False")
    (tmp_path / "pipelines" / "preset_mine.py").write_text("def mine(): ...\n")
    assert version_of(tmp_path) != here
    assert version_of(tmp_path, "own_presets=False") == without_presets
    (tmp_path / "pipelines" / "preset_mine.py").unlink()
    with open(tmp_path / "aunet" / "losses.py", "a") as file:
        file.write("# a word more\n")
    assert version_of(tmp_path) != here
