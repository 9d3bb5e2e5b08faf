"""Jobs on Kubernetes, as RayJobs of the KubeRay operator. The only module that knows the Kubernetes client."""

from __future__ import annotations

import sys
import time
from typing import Any

from kubernetes import client

from aunet.documents import read_object
from aunet.errors import Unavailable
from pipelines.targets.cluster_schema import check_rayjob
from pipelines.targets.job_end import read_end
from pipelines.targets.kuberay_api import answering, api_of, to_yaml, unless
from pipelines.targets.pod_troubles import Trouble, image_ids, trouble_of
from pipelines.targets.pods import QUEUE
from pipelines.targets.rayjob import render_rayjob
from pipelines.targets.submission import State, Submission
from pipelines.targets.waiting import TROUBLE_SECONDS, Patience, Polls

RAYJOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
POLL_SECONDS = 5.0
"""Between two looks at a job that is waited for."""
SKEW_SECONDS = 60
"""By which a node's clock may be wrong: so much of the log is read again."""
DELETE_SECONDS = 600.0
"""In which a deleted job must have released its cluster."""
PRUNED = (
    "the KubeRay operator is too old: its RayJobs know no authOptions, so anyone who reaches the job server could run "
    "code; install 1.5.1 or newer"
)


class KubeRayJobs:
    """RayJobs of one namespace; the cluster is that of the kubeconfig, or the one that this process runs in.

    Its methods raise `Unavailable` where the API server does not answer, or refuses, and `InputError` where nothing
    names a cluster.
    """

    def __init__(
        self, namespace: str, poll_seconds: float = POLL_SECONDS, trouble_seconds: float = TROUBLE_SECONDS
    ) -> None:
        self.namespace, self.poll_seconds, self.trouble_seconds = namespace, poll_seconds, trouble_seconds

    def render(self, submission: Submission) -> str:
        """The RayJob, validated."""
        return to_yaml([valid_rayjob(submission)])

    def state(self, id: str) -> State | None:
        """How the RayJob stands; SCHEDULED for a schedule's name, or its id before the first tick."""
        with answering():
            if (rayjob := self._get(id)) is not None:
                return self._state_of(rayjob)
            schedule = self._schedule(id)
        if schedule is None:
            return None
        times = "suspended" if schedule.spec.suspend else f"{schedule.spec.schedule} UTC"
        return State("SCHEDULED", f"CronJob {schedule.metadata.name}: {times}")

    def send(self, submission: Submission) -> None:
        """Create the RayJob; one that has ended is deleted first, one that has not is left to whoever sent it."""
        body = valid_rayjob(submission)
        with answering():
            api = api_of(client.CustomObjectsApi)
            old = self._get(submission.id)
            if old is not None and not state_of(old).ended:
                return
            if old is not None:
                self._delete(old)
                self._wait_until_gone(old)
            with unless(409):  # another submission of the same job was faster
                kept: Any = api.create_namespaced_custom_object(
                    **RAYJOBS, namespace=self.namespace, body=body, field_validation="Strict"
                )
                if "authOptions" not in kept.get("spec", {}).get("rayClusterSpec", {}):
                    self._delete(kept)
                    raise Unavailable(PRUNED)

    def follow(self, id: str) -> State:
        """Show what the submitter's pod prints until the RayJob has ended; a lost connection is resumed.

        A job whose pods cannot run is stopped, and has failed for that reason.
        """
        polls, patience, log, shown = Polls(), Patience(self.trouble_seconds), Log(), False
        rayjob: dict[str, Any] | None = None
        while True:
            trouble: Trouble | None = None
            with polls.look():
                with answering():
                    rayjob = self._get(id)
                log.show(self._lines(id, log.unread_seconds))
                shown = shown or (rayjob is not None and self._show_image(rayjob))
                if rayjob is not None and state_of(rayjob).status == "PENDING":
                    trouble = patience.judge(self._trouble(rayjob))
                if trouble is not None:
                    self.stop(id)
            if not polls.failures:
                if rayjob is None:
                    raise Unavailable(f"{id}: the RayJob was deleted while it was waited for; submit it again")
                if state_of(rayjob).ended:
                    return self._state_of(rayjob)
                if trouble is not None:
                    return State("FAILED", f"{trouble.line} (the job was stopped)")
            time.sleep(self.poll_seconds)

    def logs(self, id: str) -> str:
        """What the newest submitter's pod has printed; empty where there is no pod yet, or no longer."""
        return "".join(f"{line.partition(' ')[2]}\n" for line in self._lines(id))

    def stop(self, id: str) -> None:
        """Suspend the RayJob: its cluster goes, its record and its checkpoints stay. Or suspend the schedule.

        In a queue of Kueue, which suspends and resumes jobs by itself, the RayJob is deleted instead.
        """
        suspended = {"spec": {"suspend": True}}
        with answering():
            if (rayjob := self._get(id)) is not None and QUEUE in rayjob["metadata"].get("labels", {}):
                self._delete(rayjob)
            elif rayjob is not None:
                api = api_of(client.CustomObjectsApi)
                api.patch_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id, body=suspended)
            elif (schedule := self._schedule(id)) is not None:
                api_of(client.BatchV1Api).patch_namespaced_cron_job(schedule.metadata.name, self.namespace, suspended)

    def _delete(self, rayjob: dict[str, Any]) -> None:
        """Delete this very RayJob: it may be gone by now, or another in its place."""
        name, uid = rayjob["metadata"]["name"], rayjob["metadata"]["uid"]
        # Of a request with a body, Kubernetes reads no options elsewhere.
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        with unless(404, 409):
            api = api_of(client.CustomObjectsApi)
            api.delete_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=name, body=options)

    def _state_of(self, rayjob: dict[str, Any]) -> State:
        """The state, with its cause: the end that the job left in the store, or why its pods do not run."""
        state, id = state_of(rayjob), rayjob["metadata"]["name"]
        if (rayjob.get("status") or {}).get("jobStatus") == "STOPPED" and state.ended:
            end = read_end(id, str(rayjob["metadata"].get("creationTimestamp", "")))
            return state if end is None else State("FAILED", end.message, end.exit_code)
        if state.status == "PENDING" and (trouble := self._trouble(rayjob)) is not None:
            return State("PENDING", trouble.line)
        return state

    def _show_image(self, rayjob: dict[str, Any]) -> bool:
        """Write the digest of the image that the head runs to stderr; False: it does not run yet."""
        cluster = (rayjob.get("status") or {}).get("rayClusterName")
        ids = image_ids(self._list("pod", f"ray.io/cluster={cluster}")) if cluster else set()
        if ids:
            name = rayjob["metadata"].get("annotations", {}).get("aunet/image", "")
            print(f"image {name} is {', '.join(sorted(ids))}", file=sys.stderr)
        return bool(ids)

    def _trouble(self, rayjob: dict[str, Any]) -> Trouble | None:
        name, status = rayjob["metadata"]["name"], rayjob.get("status") or {}
        pods = self._list("pod", f"job-name={name}")
        names = {name, *(pod["metadata"]["name"] for pod in pods)}
        if cluster := status.get("rayClusterName"):
            own = self._list("pod", f"ray.io/cluster={cluster}")
            pods, names = [*pods, *own], {*names, cluster, *(pod["metadata"]["name"] for pod in own)}
        uid = rayjob["metadata"].get("uid")
        events = [
            event
            for event in self._list("event")
            if (thing := event.get("involvedObject", {})).get("name") in names
            and (thing.get("kind") != "RayJob" or thing.get("uid", uid) == uid)
        ]
        return trouble_of(rayjob, pods, events)

    def _list(self, kind: str, selector: str | None = None) -> list[dict[str, Any]]:
        """Pods or events as the server writes them; none where they may not be seen."""
        with answering(), unless(403, 404):
            options = {"label_selector": selector} if selector else {}
            ask: Any = getattr(api_of(client.CoreV1Api), f"list_namespaced_{kind}")
            answer = ask(self.namespace, _preload_content=False, **options)
            return read_object(answer.data, f"the list of {kind}s")["items"]
        return []

    def _get(self, id: str) -> dict[str, Any] | None:
        with unless(404):
            api = api_of(client.CustomObjectsApi)
            rayjob: Any = api.get_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id)
            return rayjob
        return None

    def _schedule(self, id: str) -> Any:
        """The CronJob of this name, or that carries this id; None where there is none, or none may be seen."""
        with unless(403, 404):  # a tick may not read schedules, and has no need to
            for job in api_of(client.BatchV1Api).list_namespaced_cron_job(self.namespace).items:
                if id in (job.metadata.name, (job.metadata.labels or {}).get("aunet/submission")):
                    return job
        return None

    def _wait_until_gone(self, rayjob: dict[str, Any]) -> None:
        id, uid = rayjob["metadata"]["name"], rayjob["metadata"]["uid"]
        end = time.monotonic() + DELETE_SECONDS
        while (left := self._get(id)) is not None and left["metadata"]["uid"] == uid:
            if time.monotonic() > end:
                raise Unavailable(f"{id}: the ended RayJob is still being deleted; check its finalizers, then retry")
            time.sleep(min(self.poll_seconds, 2.0))

    def _lines(self, id: str, since: int | None = None) -> list[str]:
        """Lines of the newest submitter's pod, each after its time."""
        with answering(), unless(400, 403, 404):
            api = api_of(client.CoreV1Api)
            pods = api.list_namespaced_pod(self.namespace, label_selector=f"job-name={id}").items
            if pods:
                newest = max(pods, key=lambda pod: str(pod.metadata.creation_timestamp)).metadata.name
                options = {} if since is None else {"since_seconds": since}
                log = api.read_namespaced_pod_log(newest, self.namespace, timestamps=True, **options)
                return [line for line in log.split("\n") if line]  # a progress bar's has \r in it
        return []


class Log:
    """What was shown of a job's log."""

    def __init__(self) -> None:
        self.last, self.came = "", 0.0
        """Moment of the last line on its node, and when it was shown here."""

    @property
    def unread_seconds(self) -> int | None:
        """The newest seconds of the log that hold all that was not shown; None: it was never read."""
        return int(time.monotonic() - self.came) + SKEW_SECONDS if self.last else None

    def show(self, lines: list[str]) -> None:
        """Write those of the lines, each after its time, that are new to stderr."""
        for line in lines:
            moment, _, text = line.partition(" ")
            if moment > self.last:
                print(text, file=sys.stderr)
                self.last, self.came = moment, time.monotonic()


def state_of(rayjob: dict[str, Any]) -> State:
    """A RayJob's status in Ray's words."""
    status = rayjob.get("status") or {}
    deployed, ran = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    queue = rayjob["metadata"].get("labels", {}).get(QUEUE)
    message = " ".join(str(status.get(key) or "") for key in ("reason", "message")).strip()
    if rayjob["metadata"].get("deletionTimestamp"):
        return State("STOPPED", "being deleted")
    if deployed == "ValidationFailed":
        return State("FAILED", f"KubeRay refuses the RayJob: {message[:300] or 'no reason given'}")
    if deployed in ("Suspending", "Suspended"):
        return State("PENDING", f"waits in the queue {queue}") if queue else State("STOPPED", "suspended")
    if deployed in ("Complete", "Failed"):
        ended = ran if deployed == "Complete" and ran in ("SUCCEEDED", "STOPPED") else "FAILED"
        return State(ended, "" if ended == "SUCCEEDED" else message[:300])
    if rayjob.get("spec", {}).get("suspend") and not queue:
        return State("STOPPED", "being suspended")
    return State("RUNNING" if deployed == "Running" and ran in ("RUNNING", "") else "PENDING", deployed)


def apply_schedule(documents: list[dict[str, Any]]) -> None:
    """Create the objects of a schedule; those that exist are replaced, the service account is left unchanged.

    Raises:
        Unavailable: the API server does not answer, or refuses.
    """
    core, rbac, batch = api_of(client.CoreV1Api), api_of(client.RbacAuthorizationV1Api), api_of(client.BatchV1Api)
    verbs = {
        "ServiceAccount": (core.create_namespaced_service_account, None),
        "Role": (rbac.create_namespaced_role, rbac.replace_namespaced_role),
        "RoleBinding": (rbac.create_namespaced_role_binding, rbac.replace_namespaced_role_binding),
        "CronJob": (batch.create_namespaced_cron_job, batch.replace_namespaced_cron_job),
    }
    for document in documents:
        create, replace = verbs[document["kind"]]
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        with answering():
            with unless(409):
                create(namespace, document)
                continue
            if replace is not None:
                replace(name, namespace, document)


def valid_rayjob(submission: Submission) -> dict[str, Any]:
    """The RayJob of a submission, validated.

    Raises:
        InputError: it could not run, or `cluster.patch` made a mistake.
    """
    rayjob = render_rayjob(submission)
    check_rayjob(rayjob, is_patched=bool(submission.config.cluster.patch))
    return rayjob
