"""Pods that do not run, in one line each with the cure."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.targets.pod_troubles import trouble_of

Plain = dict[str, Any]


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
    kinds = {"type": "Normal" if reason in ("TriggeredScaleUp", "Nominated") else "Warning"}
    return {
        "metadata": {},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": when,
        **kinds,
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
