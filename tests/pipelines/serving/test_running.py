"""Replicas that start, do not start, or never could."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from aunet.errors import InputError, Unavailable
from pipelines.serving.deployment import NAME
from pipelines.serving.running import check_room, served, wait_until_running
from pipelines.serving.settings import ServerSettings
from tests.serving import free_port


def settings(replicas: int, cpus: int = 1, gpus: float = 0.0) -> ServerSettings:
    return ServerSettings(model="m", replicas=replicas, cpus=cpus, gpus=gpus)


def looks(*statuses: ApplicationStatus) -> Callable[[], ApplicationStatusOverview]:
    """What Ray says, look after look."""
    rest = iter(statuses)
    return lambda: ApplicationStatusOverview(next(rest), "no node has a GPU", 0.0, {})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (settings(2, gpus=1.0), r"--replicas 2 --gpus 1: needs 2 GPUs, but the cluster has 1; use fewer --replicas"),
        (settings(1, gpus=2.0), "--replicas 1 --gpus 2: needs 2 GPUs, but the cluster has 1"),
        (settings(2, gpus=0.6), "--replicas 2 --gpus 0.6: needs 2 GPUs"),
        (settings(3, cpus=2), "--replicas 3 --cpus 2: needs 6 CPUs, but the cluster has 4"),
    ],
)
def test_replicas_that_could_never_start_are_refused(wanted: ServerSettings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_room(wanted, {"CPU": 4, "GPU": 1})


@pytest.mark.parametrize("fitting", [settings(1, gpus=1.0), settings(4, gpus=0.25), settings(2, cpus=2)])
def test_replicas_that_fit_are_not(fitting: ServerSettings) -> None:
    check_room(fitting, {"CPU": 4, "GPU": 1})


def test_what_is_waited_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    look = looks(ApplicationStatus.DEPLOYING, ApplicationStatus.RUNNING)
    assert wait_until_running("2 replicas", look, lambda: False, say_seconds=0.0)
    assert "serve · waits for 2 replicas, 0 s so far: no node has a GPU" in capsys.readouterr().err


def test_the_wait_ends_when_it_is_told_to() -> None:
    told = iter([False, True])
    assert not wait_until_running("2 replicas", looks(ApplicationStatus.DEPLOYING), lambda: next(told))


@pytest.mark.parametrize("is_there", [True, False])
def test_replicas_that_fail_end_the_wait(is_there: bool) -> None:
    failed = looks(ApplicationStatus.DEPLOY_FAILED)
    with pytest.raises(Unavailable, match="no node has a GPU" if is_there else "was deleted"):
        wait_until_running("2 replicas", lambda: failed() if is_there else None, lambda: False)


@pytest.mark.usefixtures("ray_cluster")
def test_replicas_that_wait_for_a_gpu_are_given_up_and_taken_away() -> None:
    told = iter([False, False, True])
    try:
        with served(settings(1, gpus=1.0), "127.0.0.1", free_port(), lambda: next(told)) as answers:
            assert not answers and list(serve.status().applications) == [NAME]
        assert all(left.status == ApplicationStatus.DELETING for left in serve.status().applications.values())
    finally:
        serve.shutdown()
