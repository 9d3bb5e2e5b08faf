"""Pods that do not run, in one line each with the cure."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.targets.pod_troubles import PLACEMENT_PATIENCE, trouble_of

Plain = dict[str, Any]


NORMAL = (
    *("TriggeredScaleUp", "Nominated", "Scheduled", "Pulling"),
    *("CreatedHeadPod", "CreatedWorkerPod", "SuccessfulCreate", "CreatedRayCluster"),
)
"""Reasons of events that are no warnings."""


def pod(name: str = "x-worker", *, waiting: str = "", message: str = "", image: str = "", **status: Any) -> Plain:
    state: Plain = {"name": "ray-worker", "imageID": image}
    if waiting:
        state["state"] = {"waiting": {"reason": waiting, "message": message}}
    return {"metadata": {"name": name}, "status": {"phase": "Pending", "containerStatuses": [state], **status}}


def unscheduled(message: str = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") -> Plain:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[condition])


def event(reason: str, message: str = "", name: str = "x-worker", kind: str = "Pod", when: str = "T1") -> Plain:
    about = {"kind": kind, "name": name}
    kinds = {"type": "Normal" if reason in NORMAL else "Warning"}
    return {
        "metadata": {},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": when,
        **kinds,
    }


def series(reason: str, message: str = "", name: str = "x", kind: str = "RayCluster", seconds: int = 1) -> Plain:
    """An event as KubeRay 1.7.0 leaves it, whose object was met again 5 ms later and, for all we see, never since."""
    second = at(seconds).removesuffix("Z")
    times = {"eventTime": f"{second}.100000Z", "lastTimestamp": None, "firstTimestamp": None}
    return {
        **event(reason, message, name, kind),
        **times,
        "series": {"count": 2, "lastObservedTime": f"{second}.105000Z"},
    }


@pytest.mark.parametrize(
    ("pods", "events", "line"),
    [
        (
            [pod(waiting="ImagePullBackOff", message='Back-off pulling image "x"')],
            [],
            "check cluster.image, and that the",
        ),
        ([pod(waiting="InvalidImageName")], [], "pod x-worker: InvalidImageName: no message; check cluster.image"),
        ([pod(waiting="CreateContainerConfigError", message='secret "aunet" not found')], [], "create the Secret"),
        ([unscheduled()], [], "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu; use smaller"),
        ([unscheduled()], [event("NotTriggerScaleUp")], "Unschedulable"),
        ([unscheduled()], [event("TriggeredScaleUp"), event("NotTriggerScaleUp", when="T2")], "Unschedulable"),
        (
            [],
            [event("FailedToCreateWorkerPod", "exceeded quota: gpus", "x-cluster", "RayCluster")],
            "RayCluster x-cluster: FailedToCreateWorkerPod: exceeded quota: gpus; raise the quota",
        ),
        (
            [],
            [event("InvalidRayJobSpec", "spec.x must not be set", "x", "RayJob")],
            "RayJob x: InvalidRayJobSpec: spec.x must not be set; correct what it names",
        ),
        ([pod(image="r@sha256:1"), pod("y", image="r@sha256:2")], [], "different images (sha256:1, sha256:2)"),
    ],
)
def test_each_trouble_is_one_line_with_its_cure(pods: list[Plain], events: list[Plain], line: str) -> None:
    trouble = trouble_of({"metadata": {"name": "x"}}, pods, events)
    assert trouble is not None and trouble.is_final
    assert line in trouble.line and "\n" not in trouble.line and ";" in trouble.line


def test_validation_that_failed() -> None:
    status = {"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed", "message": "backoffLimit < 0"}
    trouble = trouble_of({"status": status}, [], [])
    assert trouble is not None and "KubeRay refuses the RayJob: ValidationFailed backoffLimit < 0" in trouble.line


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_node_that_is_on_its_way_is_waited_for(reason: str) -> None:
    trouble = trouble_of({}, [unscheduled()], [event("NotTriggerScaleUp", when="T0"), event(reason)])
    assert trouble is not None and not trouble.is_final and "waits for a node" in trouble.line


@pytest.mark.parametrize(
    ("pods", "events"),
    [
        ([pod()], []),
        ([pod(waiting="ContainerCreating")], []),
        ([pod(waiting="PodInitializing")], [event("Pulling")]),
        ([pod(phase="Running")], [event("FailedMount")]),
        ([pod(image="r@sha256:1"), pod("y", image="docker-pullable://r@sha256:1")], []),
    ],
)
def test_what_is_only_slow_is_no_trouble(pods: list[Plain], events: list[Plain]) -> None:
    assert trouble_of({}, pods, events) is None


def at(seconds: int) -> str:
    return f"2026-01-01T10:00:{seconds:02}Z"


def made(owner: str, kind: str, when: str) -> Plain:
    """A pod that is being started, created for an object."""
    plain = pod(f"{owner}-1", waiting="ContainerCreating")
    plain["metadata"] |= {"creationTimestamp": when, "ownerReferences": [{"kind": kind, "name": owner}]}
    return plain


CREATING = pod(waiting="ContainerCreating")
MOUNT = 'MountVolume.SetUp failed for volume "kube-api-access-x": failed to sync configmap cache: timed out'
QUOTA = "pods is forbidden: exceeded quota"
HEAD = event("FailedToCreateHeadPod", QUOTA, "x", "RayCluster", at(1))
WORKER = event("FailedToCreateWorkerPod", QUOTA, "x", "RayCluster", at(9))
SUBMITTER = event("FailedCreate", QUOTA, "x", "Job", at(9))


@pytest.mark.parametrize(
    ("pods", "events"),
    [
        ([CREATING], [event("FailedMount", MOUNT, when=at(1)), event("Pulling", when=at(3))]),
        ([CREATING], [event("FailedMount", MOUNT, when=at(3)), event("Pulling", when=at(3))]),
        ([], [HEAD, event("CreatedHeadPod", name="x", kind="RayCluster", when=at(21))]),
        ([made("x", "RayCluster", at(21))], [HEAD]),
        ([], [SUBMITTER, event("SuccessfulCreate", name="x", kind="Job", when=at(19))]),
        ([made("x", "Job", at(19))], [SUBMITTER]),
    ],
    ids=["mounted", "mounted in the same second", "head", "head by its pod", "submitter", "submitter by its pod"],
)
def test_an_event_after_which_its_object_went_on_is_over(pods: list[Plain], events: list[Plain]) -> None:
    """Kubernetes keeps it for an hour: a job that is starting would be stopped for it."""
    assert trouble_of({}, pods, events) is None
    alone = trouble_of({}, [CREATING], events[:1])
    assert alone is not None and alone.is_final, "without what followed it is a trouble"


@pytest.mark.parametrize(
    ("pods", "events"),
    [
        ([CREATING], [event("Scheduled", when=at(1)), event("FailedMount", 'secret "x" not found', when=at(9))]),
        ([], [WORKER, event("CreatedHeadPod", name="x", kind="RayCluster", when=at(1))]),
        ([made("x", "RayCluster", at(1))], [WORKER]),
        ([made("y", "RayCluster", at(21))], [WORKER]),
        ([], [SUBMITTER, event("CreatedRayCluster", name="x", kind="RayJob", when=at(21))]),
    ],
    ids=["mount", "workers after the head", "workers after the head's pod", "another cluster", "another kind"],
)
def test_what_came_before_or_to_another_object_ends_no_trouble(pods: list[Plain], events: list[Plain]) -> None:
    trouble = trouble_of({}, pods, events)
    assert trouble is not None and trouble.is_final
    assert (trouble.moment, trouble.line.startswith(trouble.event)) == (at(9)[:19], True)


FAILING = series("InvalidRayClusterSpec", "the container ray-worker has no image")


def test_a_series_of_kuberay_stands_until_its_object_goes_on() -> None:
    """It is not written again for half an hour, however often it happens."""
    trouble = trouble_of({}, [made("x", "RayCluster", at(0))], [FAILING])
    assert trouble is not None and trouble.is_final and "InvalidRayClusterSpec: the container" in trouble.line
    assert (trouble.event, trouble.patience) == ("", PLACEMENT_PATIENCE)
    assert trouble_of({}, [made("x", "RayCluster", at(9))], [FAILING]) is None
    assert trouble_of({}, [], [FAILING, event("CreatedHeadPod", name="x", kind="RayCluster", when=at(9))]) is None


def test_what_happened_once_may_be_over_whichever_kuberay_says_so() -> None:
    once = {**FAILING, "series": None}
    trouble = trouble_of({}, [], [once])
    assert trouble is not None and (trouble.event, trouble.patience) == ("RayCluster x: InvalidRayClusterSpec", 1)


@pytest.mark.parametrize("refused", [HEAD, WORKER, SUBMITTER])
def test_a_quota_is_given_the_time_in_which_the_job_before_leaves_it(refused: Plain) -> None:
    trouble = trouble_of({}, [], [refused])
    assert trouble is not None and trouble.event and trouble.patience == PLACEMENT_PATIENCE


def test_an_event_of_an_earlier_job_of_the_same_name_is_over() -> None:
    """A job that is sent again has its id again, and so have its RayJob and the Job that submits it."""
    assert trouble_of({"metadata": {"name": "x", "creationTimestamp": at(10)}}, [], [SUBMITTER]) is None
    assert trouble_of({"metadata": {"name": "x", "creationTimestamp": at(9)}}, [], [SUBMITTER]) is not None


def test_an_event_hides_nothing_that_stands_now() -> None:
    moved = [pod(image="r@sha256:1"), pod("y", image="r@sha256:2")]
    trouble = trouble_of({}, moved, [WORKER])
    assert trouble is not None and "the tag was moved" in trouble.line


def test_a_pod_that_drives_others_away_is_waited_for() -> None:
    waiting = unscheduled()
    waiting["status"]["nominatedNodeName"] = "gpu-7"
    trouble = trouble_of({"metadata": {"name": "x"}}, [waiting], [])
    assert trouble is not None and not trouble.is_final and "lower priority to leave gpu-7" in trouble.line
