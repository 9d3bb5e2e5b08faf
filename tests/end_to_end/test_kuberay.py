"""Jobs on a stand-in for KubeRay that runs what it is sent: as a pod would, in an environment of the manifest alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import submitting
from pipelines import presets
from pipelines.job import job
from pipelines.retrain import Tick
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets.kuberay import TROUBLE_SECONDS, KubeRayJobs
from pipelines.targets.ray_cluster import GRACE_SECONDS
from pipelines.targets.submission import Submitted
from tests.canaries import CANARY
from tests.commands import LOGGED_STEPS, MainJob, files_of_runs, stored_run, tiny_changes, weights_hash
from tests.kuberay_operator import Operator


def send(
    operator: Operator, verb: str = "plan", preset: str = "shapes_smoke", entrypoint: str = "", **changes: Any
) -> Submitted:
    """Submit and wait.

    Args:
        entrypoint: in place of the job's own.
    """
    base = presets.PRESETS[preset]()
    patch = f"rayjob:\n  spec:\n    entrypoint: {entrypoint!r}\n" if entrypoint else ""
    settings = {"cluster.image": "registry.example.com/aunet:1.0.0", "cluster.patch": patch}
    config = override(base, {**settings, **{name.replace("__", "."): value for name, value in changes.items()}})
    patience = TROUBLE_SECONDS / operator.speed
    targets = {"kuberay": lambda namespace: KubeRayJobs(namespace, poll_seconds=0.1, trouble_seconds=patience)}
    return submit(config, verb=verb, preset=preset, base=base, target="kuberay", wait=True, targets=targets)


def test_a_job_runs_with_what_its_manifest_carries_and_nothing_else(
    cluster: Operator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANTED", CANARY)
    result = send(cluster, entrypoint="env")
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0)
    lines = dict(line.split("=", 1) for line in capfd.readouterr().err.splitlines() if "=" in line)
    assert CANARY not in str(lines) and "PLANTED" not in lines
    assert lines["AUNET_STORE"] == os.environ["AUNET_STORE"] and lines["AWS_ACCESS_KEY_ID"] == "testing"
    assert lines["AUNET_GIVEN"] == "AUNET_SAMPLE_DATA,AUNET_STORE,AWS_ENDPOINT_URL,AWS_REGION"
    assert lines["PWD"] != os.getcwd()


def test_a_verb_runs_in_a_pod(cluster: Operator, capfd: pytest.CaptureFixture[str]) -> None:
    result = send(cluster)
    log = capfd.readouterr().err
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0), log
    assert f"image registry.example.com/aunet:1.0.0 is sha256:{'7' * 64}" in log
    assert '"preset"' in log or '"stages"' in log
    assert cluster.clusters == [{"gpus": 0, "nodes": 1, "kept": cluster.clusters[0]["kept"]}]


def test_wrong_input_ends_with_its_exit_code_and_one_cluster(cluster: Operator) -> None:
    result = send(cluster, "preprocess", "coco_r50", data__root=f"{os.environ['AUNET_STORE']}/nowhere")
    assert (result.status, result.exit_code) == ("FAILED", 2)
    assert result.message is not None and result.message.startswith("error: ") and "nowhere" in result.message
    assert len(cluster.clusters) == 1 and "Retrying" not in cluster.statuses
    assert cluster.clusters[0]["gpus"] == 0
    id = result.submission_id
    assert job(id=id, target="kuberay").state.exit_code == 2


def test_what_was_lost_is_started_again(cluster: Operator, tmp_path: Path) -> None:
    result = send(cluster, entrypoint=f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; kill -9 $$; }}")
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0)
    assert len(cluster.clusters) == 2 and cluster.statuses.count("Retrying") == 1


def test_a_job_that_fails_each_time_is_given_up(cluster: Operator) -> None:
    result = send(cluster, entrypoint="exit 1", cluster__retries=2)
    assert (result.status, result.exit_code) == ("FAILED", 1)
    assert result.message == "AppFailed exit code 1" and len(cluster.clusters) == 3


def test_the_deadline_ends_a_job_for_good(cluster: Operator) -> None:
    result = send(cluster, entrypoint="sleep 600", cluster__deadline_hours=0.002)
    assert (result.status, result.message) == ("FAILED", "DeadlineExceeded")
    assert len(cluster.clusters) == 1


def test_a_job_that_was_submitted_from_other_code_does_not_start(cluster: Operator, image: Path) -> None:
    extra = image / "pipelines/zz_other.py"
    extra.write_text("")
    try:
        result = send(cluster)
    finally:
        extra.unlink()
    assert (result.status, result.exit_code, len(cluster.clusters)) == ("FAILED", 2, 1)
    assert result.message is not None and "build and push an image of that checkout" in result.message


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        ("image", "ImagePullBackOff: Back-off pulling image"),
        ("secret", 'CreateContainerConfigError: secret "aunet" not found'),
        ("unschedulable", "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"),
        ("quota", "FailedToCreateWorkerPod: exceeded quota: gpus"),
        ("validation", "KubeRay refuses the RayJob: ValidationFailed bad spec"),
    ],
)
def test_pods_that_cannot_run_end_the_job_with_one_line(cluster: Operator, failure: str, cause: str) -> None:
    cluster.failure = failure
    is_slow = failure in ("unschedulable", "quota")
    if is_slow:
        cluster.speed = 60.0  # of which five minutes are waited for
    began = cluster.now
    result = send(cluster)
    assert (300 if is_slow else 30) * (failure != "validation") <= cluster.now - began < (360 if is_slow else 60)
    assert (result.status, result.exit_code) == ("FAILED", 1)
    assert result.message is not None and cause in result.message and "\n" not in result.message
    (rayjob,) = [thing for path, thing in cluster.objects.items() if "/rayjobs/" in path]
    assert failure == "validation" or rayjob["spec"]["suspend"] is True


def test_a_job_can_be_stopped(cluster: Operator) -> None:
    results: list[Submitted] = []
    waiting = threading.Thread(target=lambda: results.append(send(cluster, entrypoint="sleep 600")))
    waiting.start()
    while not cluster.processes:
        time.sleep(0.05)
    (path,) = [path for path in cluster.objects if "/rayjobs/" in path]
    job(id=path.rpartition("/")[2], target="kuberay", stop=True)
    waiting.join(60)
    assert (results[0].status, results[0].exit_code) == ("STOPPED", 1)
    (process,) = cluster.processes.values()
    process.wait(60)
    assert len(cluster.clusters) == 1


def run_disturbed(operator: Operator, disturb: Callable[[], None]) -> Submitted:
    """Run the main job, and disturb it when it has two checkpoints."""
    results: list[Submitted] = []
    settings = {name.replace(".", "__"): value for name, value in tiny_changes().items()}
    waiting = threading.Thread(
        target=lambda: results.append(send(operator, "run", cluster__deadline_hours=5000.0, **settings))
    )
    waiting.start()
    while waiting.is_alive() and len(files_of_runs("checkpoints")) < 2:
        time.sleep(0.2)
    disturb()
    waiting.join(900)
    return results[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_main_job_trains_the_same_model(cluster: Operator, main_job: MainJob) -> None:
    """A pod that is killed in the middle is replaced and resumes; the weights are those of an undisturbed run."""
    result = run_disturbed(cluster, cluster.kill)
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0), result
    assert len(cluster.clusters) == 2
    assert stored_run() == (weights_hash(main_job.store), LOGGED_STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cluster", ["v1.7.0"], indirect=True)
def test_an_evicted_driver_resumes_and_no_step_is_lost_or_done_twice(cluster: Operator, main_job: MainJob) -> None:
    """SIGTERM, the time of grace, SIGKILL; KubeRay tries again because of `backoffLimit`."""
    result = run_disturbed(cluster, lambda: cluster.evict(grace=GRACE_SECONDS / cluster.speed))
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0), result
    assert len(cluster.evicted) == 1 and len(cluster.clusters) == 2 and cluster.statuses.count("Retrying") == 1
    assert stored_run() == (weights_hash(main_job.store), LOGGED_STEPS)


@pytest.mark.slow
def test_a_tick_with_news_prepares_without_gpus_and_one_without_news_starts_nothing(cluster: Operator) -> None:
    """The CronJob's pod, run as its manifest says."""
    changes = {**tiny_changes(), "cluster.image": "registry.example.com/aunet:1.0.0", "cluster.deadline_hours": 4000.0}
    base = presets.shapes_smoke()
    submit(override(base, changes), verb="retrain", preset="shapes_smoke", base=base, target="kuberay")
    (cron,) = [thing for path, thing in cluster.objects.items() if "/cronjobs/" in path]
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(cluster.folder),
        "PYTHONPATH": str(cluster.image),
    }
    own["KUBECONFIG"] = os.environ["KUBECONFIG"]

    def tick() -> dict[str, Any]:
        environment = {**own, **cluster.environment_of(container)}
        done = subprocess.run(
            container["command"],
            env=environment,
            cwd=cluster.folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    assert tick()["sent"] is True
    verbs = [path.rpartition("/")[2].partition("-")[0] for path in cluster.objects if "/rayjobs/" in path]
    assert verbs == ["preprocess", "retrain"] and len(cluster.clusters) == 2
    again = tick()
    assert again["sent"] is False and again["message"].startswith("nothing new since the tick of ")
    assert len(cluster.clusters) == 2


@pytest.mark.parametrize("cluster", ["v1.7.0"], indirect=True)
@pytest.mark.parametrize("ended", [None, Tick(action="nothing", reason="nothing new")], ids=["news", "no news"])
def test_gpus_are_asked_for_after_there_is_news_and_not_before(cluster: Operator, ended: Tick | None) -> None:
    """The tick of a preset with GPUs, its decision given; its jobs end at once with success."""
    base = presets.shapes_smoke()
    patch = "rayjob:\n  spec:\n    entrypoint: sleep 1\n"
    changes = {"train.use_gpu": True, "cluster.gpus_per_node": 1, "cluster.patch": patch}
    config = override(base, {**changes, "cluster.image": "registry.example.com/aunet:1.0.0"})
    tick: dict[str, Any] = {"verb": "retrain", "preset": "shapes_smoke", "base": base, "target": "kuberay"}
    result = submitting.submit(config, **tick, now=True, wait=True, ended=lambda config: ended)
    gpus = [entry["gpus"] for entry in cluster.clusters]
    assert result.exit_code == 0 and gpus == ([0, 2] if ended is None else [0])
    assert cluster.statuses.count("Complete") == len(gpus), "one has ended before the next one begins"
