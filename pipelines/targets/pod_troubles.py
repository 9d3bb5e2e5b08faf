"""Why the pods of a job do not run, in one line: from their states and from the events of Kubernetes and KubeRay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PULL = "check cluster.image, and that the registry can be reached; a private one needs --cluster.pull_secrets"
FINAL = {
    "InvalidImageName": PULL,
    "ErrImageNeverPull": PULL,
    "ImagePullBackOff": PULL,
    "ErrImagePull": PULL,
    "CreateContainerConfigError": "create the Secret or ConfigMap that it names, or correct cluster.patch",
    "CreateContainerError": "correct what it names, in the image or in cluster.patch",
    "RunContainerError": "correct what it names, in the image or in cluster.patch",
    "CrashLoopBackOff": "look at the pod's log: kubectl logs",
}
"""Reasons for which a container waits, and what helps; none goes away by itself."""
PLACEMENT_PATIENCE = 10
"""Of pods without a node or without room in a quota: those of the job before keep both for two minutes after their end,
see `ray_cluster`."""
SCHEDULE = "use smaller --cluster.… sizes, free some room, or add nodes that fit"
REFUSED = {
    "FailedCreate": "raise the quota, or correct what it names",
    "FailedToCreatePod": "raise the quota, or correct what it names",
    "FailedToCreateHeadPod": "raise the quota, or correct what it names",
    "FailedToCreateWorkerPod": "raise the quota, or correct what it names",
    "FailedToCreateRayCluster": "correct what it names",
    "FailedToCreateRayJobSubmitter": "correct what it names",
    "InvalidRayJobSpec": "correct what it names; the operator may be too old for this manifest",
    "InvalidRayJobMetadata": "correct what it names",
    "InvalidRayJobStatus": "delete the RayJob and submit again",
    "InvalidRayClusterSpec": "correct what it names; the operator may be too old for this manifest",
    "FailedMount": "create the volume that it names, or correct cluster.patch",
}
"""Events that say that a pod cannot be made, and what helps."""
COMING = ("TriggeredScaleUp", "Nominated", "NodeClaimCreated")
"""Events of the cluster's autoscalers that say that a node is on its way."""
NOT_COMING = ("NotTriggerScaleUp", "FailedScaleUp")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job does not go on."""

    line: str
    is_final: bool = True
    """False: it may still pass, as a node that is on its way."""
    event: str = ""
    """What happened to what, where an event says so: it may be over. Empty: things stand so now."""
    moment: str = ""
    """When the event came last."""
    patience: int = 1
    """How many times as long as others it is given to pass."""


def trouble_of(
    rayjob: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> Trouble | None:
    """The first thing that keeps a job from going on; None: nothing is known to.

    Args:
        pods: of the job.
        events: of the job and of what belongs to it.
    """
    events = [event for event in events if _moment(event) >= _created(rayjob)]
    troubles = [*_of_containers(pods), *_of_scheduling(pods, events), *_of_images(pods), *_of_events(events, pods)]
    if (rayjob.get("status") or {}).get("jobDeploymentStatus") == "ValidationFailed":
        status = rayjob["status"]
        reason = " ".join(str(status.get(key) or "") for key in ("reason", "message")).strip()
        troubles.insert(0, Trouble(f"KubeRay refuses the RayJob: {reason or 'no reason given'}; correct what it names"))
    final = [trouble for trouble in troubles if trouble.is_final]
    return next(iter(final or troubles), None)


def _of_containers(pods: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    for pod in pods:
        for state in _container_states(pod):
            waiting = state.get("state", {}).get("waiting") or {}
            if (reason := waiting.get("reason", "")) in FINAL:
                yield Trouble(f"pod {_name(pod)}: {reason}: {_line(waiting.get('message'))}; {FINAL[reason]}")


def _of_scheduling(pods: Iterable[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Iterator[Trouble]:
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
                own = [event for event in events if event.get("involvedObject", {}).get("name") == _name(pod)]
                coming = max((_moment(event) for event in own if event.get("reason") in COMING), default="")
                gone = max((_moment(event) for event in own if event.get("reason") in NOT_COMING), default="")
                if coming and coming >= gone:
                    yield Trouble(f"pod {_name(pod)}: waits for a node that is on its way", is_final=False)
                elif node := pod["status"].get("nominatedNodeName"):
                    line = f"pod {_name(pod)}: waits for pods of lower priority to leave {node}"
                    yield Trouble(line, is_final=False)
                else:
                    line = f"pod {_name(pod)}: Unschedulable: {_line(condition.get('message'))}; {SCHEDULE}"
                    yield Trouble(line, patience=PLACEMENT_PATIENCE)


def _of_events(events: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> Iterator[Trouble]:
    """Events that nothing has followed: Kubernetes keeps them for an hour, whatever became of their objects.

    Of what happens again and again, KubeRay 1.7 and newer report the second time, as a series, and the next half an
    hour later: a series stands until its object goes on.
    """
    running = {_name(pod) for pod in pods if pod.get("status", {}).get("phase") == "Running"}
    went_on = _last_successes(events, pods)
    for event in sorted(events, key=_moment, reverse=True):
        reason, (kind, name), moment = event.get("reason", ""), _object(event), _moment(event)
        is_over = name in running or moment <= went_on.get((kind, name), "")
        if event.get("type") == "Warning" and reason in REFUSED and not is_over:
            line = f"{kind} {name}: {reason}: {_line(event.get('message'))}; {REFUSED[reason]}"
            is_series = bool(event.get("series"))
            is_slow = is_series or "exceeded quota" in line
            what = "" if is_series else f"{kind} {name}: {reason}"
            yield Trouble(line, event=what, moment=moment, patience=PLACEMENT_PATIENCE if is_slow else 1)


def _last_successes(
    events: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], str]:
    """When an object last went on, by its kind and name: a normal event, or a pod that was created for it.

    Moments are whole seconds. A trouble of the same second counts as over: if it is not, it comes again.
    """
    moments = [(_object(event), _moment(event)) for event in events if event.get("type") == "Normal"]
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences") or []:
            moments.append(((owner.get("kind", ""), owner.get("name", "")), _created(pod)))
    return dict(sorted(moments, key=lambda entry: entry[1]))


def _of_images(pods: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    ids = image_ids(pods)
    if len(ids) > 1:
        yield Trouble(
            f"the pods run different images ({', '.join(sorted(ids))}): the tag was moved; name a version or a digest"
        )


def image_ids(pods: Iterable[Mapping[str, Any]]) -> set[str]:
    """Digests of the images that the pods' own containers run."""
    names = ("ray-head", "ray-worker", "ray-job-submitter")
    states = [state for pod in pods for state in _container_states(pod) if state.get("name") in names]
    return {str(state["imageID"]).rpartition("@")[2] for state in states if state.get("imageID")}


def _container_states(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _name(pod: Mapping[str, Any]) -> str:
    return pod["metadata"]["name"]


def _object(event: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and name of what an event is about."""
    about = event.get("involvedObject", {})
    return about.get("kind", "object"), about.get("name", "")


def _moment(event: Mapping[str, Any]) -> str:
    """When it came last, to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or _created(event))[:19]


def _created(thing: Mapping[str, Any]) -> str:
    """When an object was created, to the second; empty: it does not say."""
    return str(thing.get("metadata", {}).get("creationTimestamp") or "")[:19]


def _line(message: Any) -> str:
    return " ".join(str(message or "no message").split())[:300].rstrip(".")
