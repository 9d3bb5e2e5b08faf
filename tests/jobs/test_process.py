"""The command line as a process: what goes to stdout, and the installed launcher."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.jobs.test_help import shown

ROOT = Path(__file__).parents[2]


def test_stdout_holds_the_result_alone(tmp_path: Path) -> None:
    """As a process: what a verb prints, from Python or below it, goes to stderr."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipelines/run.py").write_text(
        "import os, subprocess\n"
        "from pipelines.store.artifacts import PreparedData\n"
        "def run(config):\n"
        "    print('from Python'); os.write(1, b'from below\\n'); subprocess.run(['echo', 'from a child'])\n"
        "    return PreparedData(uri='u', fingerprint='f', num_images={})\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "jobs", "run", "shapes_smoke"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    result = {"uri": "u", "fingerprint": "f", "num_images": {}, "num_quarantined": {}}
    assert (answer.returncode, answer.stdout) == (0, f"{json.dumps(result)}\n"), answer.stderr
    assert sorted(answer.stderr.splitlines()) == ["from Python", "from a child", "from below"]


def test_aunet_is_the_same_from_any_folder(tmp_path: Path) -> None:
    """The installed launcher finds its checkout, whatever the folder holds and however it is called."""
    bin = tmp_path / "checkout/.venv/bin"
    bin.mkdir(parents=True)
    for room in ("jobs", "pipelines", "aunet"):
        (tmp_path / "checkout" / room).symlink_to(ROOT / room)
    shutil.copy(ROOT / "jobs/aunet.sh", bin / "aunet")
    (bin / "aunet").chmod(0o755)
    (bin / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (bin / "python").chmod(0o755)
    (tmp_path / "link").symlink_to(bin / "aunet")
    (tmp_path / "elsewhere/jobs").mkdir(parents=True)
    (tmp_path / "elsewhere/jobs/__init__.py").write_text("raise RuntimeError('not this one')\n")
    for command in (bin / "aunet", tmp_path / "link"):
        answer = subprocess.run(
            [command, "score", "--help"], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False
        )
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout == shown("score", "--help").replace("python -m jobs", "aunet")
