"""A labelling job whose workers and whose driver are killed: every image is labelled once, and none is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.measuring.label_job import TASK_IMAGES
from pipelines.predict import predict
from tests.commands import ROOT, command, environment, jobs, processes
from tests.serving import noise, write_model

NUM_IMAGES = 5 * TASK_IMAGES + 3

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and images of two sizes."""
    folder = tmp_path_factory.mktemp("predict")
    write_model(folder / "model", 0)
    (folder / "images").mkdir()
    for number in range(NUM_IMAGES):
        size = (64, 96) if number % 3 else (48, 64)
        (folder / "images" / f"{number:04d}.png").write_bytes(noise(*size, number))
    return folder


def words(folder: Path, out: Path) -> list[str]:
    return ["predict", "--model", str(folder / "model"), "--images", str(folder / "images"), "--out", str(out)]


def document(out: Path) -> dict[str, Any]:
    return json.loads((out / "panoptic.json").read_text())


def killed(folder: Path, out: Path, store: Path) -> None:
    """Run the job, kill one of its workers after the first task, and its driver after the second; wait for the rest."""
    process = subprocess.Popen(
        [*command(*words(folder, out)), "--workers", "2"],
        cwd=ROOT,
        env=environment(store),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _until(lambda: len(list(out.glob("parts/*/*.json.gz"))) >= 1, process)
        os.kill(processes(store, "LabelActor")[0], signal.SIGKILL)
        _until(lambda: len(list(out.glob("parts/*/*.json.gz"))) >= 2, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _until(lambda: not processes(store))  # Ray's outlive their driver: a worker may still begin, and end its task


def _until(condition: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process is None or process.poll() is None, process.stderr and process.stderr.read().decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_image_is_labelled_once(folder: Path, tmp_path: Path) -> None:
    """The same maps and the same JSON as without workers and without kills."""
    out, store = tmp_path / "out", tmp_path / "store"
    killed(folder, out, store)
    assert not (out / "panoptic.json").exists()
    finished = {path.name for path in out.glob("parts/*/*.json.gz")}
    result, log = jobs(store, *words(folder, out), "--workers", "2")
    assert f"{len(finished)} of 6 tasks are done already" in log and len(finished) < 6
    assert result["images"] == NUM_IMAGES and result["images_per_s"] > 0
    predict(str(folder / "model"), str(folder / "images"), str(tmp_path / "alone"))
    together, alone = document(out), document(tmp_path / "alone")
    names = [image["file_name"] for image in together["images"]]
    assert names == sorted(path.name for path in (folder / "images").iterdir())
    assert together["images"] == alone["images"] and together["categories"] == alone["categories"]
    maps = [annotation["file_name"] for annotation in together["annotations"]]
    assert sorted(path.name for path in (out / "panoptic").iterdir()) == sorted(maps) and len(maps) == NUM_IMAGES
    assert not (out / "parts").exists()
