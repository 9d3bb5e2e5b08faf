"""A cluster of three nodes loses one in the middle of a run; when another takes its place, the run goes on."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import nodes
from tests.commands import ROOT, command, environment, weights_hash
from tests.faults.test_resume import TRAIN, logged_steps, wait_for_checkpoint


@pytest.mark.faults
def test_a_lost_node_changes_nothing(main_job: tuple[Path, dict[str, Any], str], tmp_path: Path) -> None:
    undisturbed, store = main_job[0], tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(undisturbed / folder, store / folder)
    session = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets want a short path
    try:
        with nodes(session, AUNET_STORE=str(store)) as cluster:
            cluster.start_head()
            cluster.start_worker("steady")
            cluster.start_worker("doomed")
            with open(tmp_path / "log", "wb") as log:
                process = subprocess.Popen(
                    command(*TRAIN), cwd=ROOT, env=environment(store, **cluster.reach), stdout=log, stderr=log
                )
            wait_for_checkpoint(store, process)
            cluster.kill("doomed")
            cluster.start_worker("replacement")
            assert process.wait(500) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        shutil.rmtree(session, ignore_errors=True)
    assert logged_steps(store) == logged_steps(undisturbed) == [10, 20, 24]
    assert weights_hash(store) == weights_hash(undisturbed)
