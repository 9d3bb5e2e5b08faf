"""Evaluations that are killed go on where they were, and any number of workers counts the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aunet.data.shapes import write_scenes
from pipelines import presets
from pipelines.measuring.evaluation import measure_split
from pipelines.measuring.outcome_table import to_parquet
from pipelines.measuring.share import Share
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.parts import Parts
from tests import threshold
from tests.commands import ROOT, environment
from tests.preparing import preprocess_here

DRIVER = """
import sys
from pathlib import Path
from tests.faults.test_evaluate import evaluated
Path(sys.argv[1]).write_text(evaluated(*sys.argv[2:]))
"""


def config_of(raw: Path, workers: int) -> RunConfig:
    changes = {"data.root": str(raw), "train.num_workers": workers, "train.batch_size": 6, "train.use_gpu": False}
    return override(presets.camvid_small(), changes)


def scenes(folder: Path, images: int) -> PreparedData:
    write_scenes(folder / "raw", num_train=1, num_val=images, height=48, width=64)
    return preprocess_here(config_of(folder / "raw", 1))


def evaluated(raw: str, parts: str, model: str, workers: str, task_images: str, loader: str) -> str:
    """What an evaluation measures, as text that is equal only where every figure is."""
    config = config_of(Path(raw), int(workers))
    prepared = preprocess_here(config)
    run = TrainedRun(uri="", fingerprint="", model_uri=model, mlflow_run_id="", steps=0)
    stand_ins = {"load": getattr(threshold, loader), "gallery": threshold.no_gallery}
    evaluation = measure_split(
        config, run, prepared, parts=Parts(parts), task_images=int(task_images), stand_ins=stand_ins
    )
    outcomes = to_parquet(evaluation.outcomes, evaluation.tags, evaluation.categories).hex()
    return repr((evaluation.metrics, evaluation.per_class, evaluation.attention, outcomes))


def start(tmp_path: Path, name: str, workers: int, task_images: int, loader: str) -> subprocess.Popen[bytes]:
    """An evaluation in a process of its own."""
    words = (str(tmp_path / "raw"), str(tmp_path / name), str(tmp_path / "model"), str(workers), str(task_images))
    command = [sys.executable, "-c", DRIVER, str(tmp_path / f"{name}.txt"), *words, loader]
    import ray

    reach = environment(os.environ["AUNET_STORE"], {"RAY_ADDRESS": ray.get_runtime_context().gcs_address})
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=reach, stdout=pipe, stderr=pipe, start_new_session=True)


def killed(process: subprocess.Popen[bytes], parts: Parts, number: int) -> set[int]:
    """Kill an evaluation with all its workers once so many tasks are done; which of them are."""
    while len(parts.finished()) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return parts.finished()


def expected(tmp_path: Path, prepared: PreparedData, task_images: int, images: int) -> str:
    """The same without Ray: every task in this process."""
    share = Share(
        settings=to_json(config_of(tmp_path / "raw", 1)),
        model_uri="",
        prepared_uri=prepared.uri,
        parts=Parts(str(tmp_path / "undisturbed")),
        task_images=task_images,
        load=threshold.load,
    )
    for task in reversed(range(-(-images // task_images))):
        share.measure(task)
    all_of_it = share.combine()
    outcomes = to_parquet(all_of_it["outcomes"], all_of_it["tags"], all_of_it["categories"]).hex()
    return repr((all_of_it["metrics"], all_of_it["per_class"], all_of_it["attention"], outcomes))


@pytest.mark.faults
def test_a_killed_evaluation_goes_on_with_the_rest(ray_cluster: None, tmp_path: Path) -> None:
    """Killed after some tasks, on two workers; resumed on three, of which this machine may have no room for one, and of
    which one dies at its first image."""
    prepared = scenes(tmp_path, 25)
    parts = Parts(str(tmp_path / "parts"))
    done = killed(start(tmp_path, "parts", 2, 2, "load_slow"), parts, 3)
    assert 3 <= len(done) < 13
    written = {task: Path(parts.file_uri(task)).stat().st_mtime_ns for task in done}
    resumed = start(tmp_path, "parts", 3, 2, "load_mortal")
    _, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, err.decode()
    assert b"of 25 images are measured already; going on" in err and b"a worker has died" in err
    assert (tmp_path / "parts.txt").read_text() == expected(tmp_path, prepared, 2, 25)
    assert {task: Path(parts.file_uri(task)).stat().st_mtime_ns for task in done} == written, "nothing twice"


@pytest.mark.slow
@pytest.mark.faults
def test_a_thousand_scenes_on_one_two_and_three_workers(ray_cluster: None, tmp_path: Path) -> None:
    """Identical figures, and so with a kill in the middle."""
    prepared = scenes(tmp_path, 1000)
    truth = expected(tmp_path, prepared, 16, 1000)
    for workers in (1, 2, 3):
        name = f"by {workers}"
        if workers == 2:
            killed(start(tmp_path, name, workers, 16, "load_slow"), Parts(str(tmp_path / name)), 30)
        process = start(tmp_path, name, workers, 16, "load")
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err.decode()
        assert (tmp_path / f"{name}.txt").read_text() == truth, workers
