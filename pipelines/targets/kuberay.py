"""Jobs on Kubernetes, as RayJobs of the KubeRay operator. The only module that knows the Kubernetes client."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from aunet.errors import InputError
from pipelines.targets.cluster_schema import check_rayjob
from pipelines.targets.rayjob import render_rayjob
from pipelines.targets.submission import State, Submission

RAYJOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
POLL = 5.0
"""Seconds between two looks at a job that is waited for."""
GONE = 600.0
"""Seconds in which a deleted job must have let go of its cluster."""
LOST = 5
"""Looks in a row that may fail while a job is waited for."""


class KubeRayJobs:
    """RayJobs of one namespace; the cluster is that of the kubeconfig, or the one that this process runs in."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def render(self, submission: Submission) -> str:
        """The RayJob, validated."""
        return to_yaml([_valid(submission)])

    def state(self, id: str) -> State | None:
        """How the RayJob stands; for a schedule's name, or its id before the first tick, that it is scheduled."""
        with _said_plainly():
            if (found := self._get(id)) is not None:
                return state_of(found)
            schedule = self._schedule(id)
        if schedule is None:
            return None
        times = "suspended" if schedule.spec.suspend else f"{schedule.spec.schedule} UTC"
        return State("SCHEDULED", f"CronJob {schedule.metadata.name}: {times}")

    def send(self, submission: Submission) -> None:
        """Create the RayJob; one that has ended is deleted first."""
        body = _valid(submission)
        with _said_plainly():
            api = _clients().CustomObjectsApi()
            old = self._get(submission.id)
            if old is not None:
                api.delete_namespaced_custom_object(
                    **RAYJOBS, namespace=self.namespace, name=submission.id, propagation_policy="Foreground"
                )
                self._wait_until_gone(submission.id)
            with _unless(409):  # another submission of the same job was faster
                api.create_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, body=body)

    def follow(self, id: str) -> State:
        """Show what the submitter's pod prints until the RayJob has ended; a lost connection is taken up again."""
        last, failures = "", 0
        while True:
            try:
                with _said_plainly():
                    found = self._get(id)
                if found is None:
                    raise LookupError(id)
                last, failures = self._print_new_lines(id, last), 0
                if (state := state_of(found)).ended:
                    return state
            except LookupError:
                raise InputError(f"{id}: the RayJob was deleted while it was waited for; submit it again") from None
            except InputError as error:
                failures += 1
                if failures == LOST:
                    raise
                print(f"{error}; trying again", file=sys.stderr)
            time.sleep(POLL)

    def logs(self, id: str) -> str:
        """What the newest submitter's pod has printed; empty where it is not there yet or no more."""
        return "".join(f"{line.partition(' ')[2]}\n" for line in self._lines(id))

    def stop(self, id: str) -> None:
        """Suspend the RayJob: its cluster goes, its record and its checkpoints stay. Or suspend the schedule."""
        suspended = {"spec": {"suspend": True}}
        with _said_plainly():
            if self._get(id) is not None:
                api = _clients().CustomObjectsApi()
                api.patch_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id, body=suspended)
            elif (schedule := self._schedule(id)) is not None:
                _clients().BatchV1Api().patch_namespaced_cron_job(schedule.metadata.name, self.namespace, suspended)

    def _get(self, id: str) -> dict[str, Any] | None:
        with _unless(404):
            api = _clients().CustomObjectsApi()
            found: Any = api.get_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id)
            return found
        return None

    def _schedule(self, id: str) -> Any:
        """The CronJob of this name, or that carries this id; None where there is none to be seen."""
        with _unless(403, 404):  # a tick may not read schedules, and has no need to
            for job in _clients().BatchV1Api().list_namespaced_cron_job(self.namespace).items:
                if id in (job.metadata.name, (job.metadata.labels or {}).get("aunet/submission")):
                    return job
        return None

    def _wait_until_gone(self, id: str) -> None:
        end = time.monotonic() + GONE
        while self._get(id) is not None:
            if time.monotonic() > end:
                raise InputError(f"{id}: the ended RayJob is still being deleted; look at its finalizers, then retry")
            time.sleep(min(POLL, 2.0))

    def _lines(self, id: str, since: int | None = None) -> list[str]:
        """Lines of the newest submitter's pod, each after its time."""
        with _said_plainly(), _unless(400, 403, 404):
            api = _clients().CoreV1Api()
            pods = api.list_namespaced_pod(self.namespace, label_selector=f"job-name={id}").items
            if pods:
                newest = max(pods, key=lambda pod: str(pod.metadata.creation_timestamp)).metadata.name
                options = {} if since is None else {"since_seconds": since}
                log = api.read_namespaced_pod_log(newest, self.namespace, timestamps=True, **options)
                return log.splitlines()
        return []

    def _print_new_lines(self, id: str, last: str) -> str:
        """Write lines later than `last` to stderr. Returns the time of the last one."""
        for line in self._lines(id, since=None if not last else int(POLL * (LOST + 1)) + 60):
            moment, _, text = line.partition(" ")
            if moment > last:
                print(text, file=sys.stderr)
                last = moment
        return last


def state_of(rayjob: dict[str, Any]) -> State:
    """A RayJob's status in Ray's words."""
    status = rayjob.get("status") or {}
    deployed, ran = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    message = " ".join(str(status.get(key) or "") for key in ("reason", "message")).strip()
    if rayjob["metadata"].get("deletionTimestamp"):
        return State("STOPPED", "being deleted")
    if deployed in ("Suspending", "Suspended"):
        return State("STOPPED", "suspended")
    if deployed in ("Complete", "Failed"):
        ended = ran if deployed == "Complete" and ran in ("SUCCEEDED", "STOPPED") else "FAILED"
        return State(ended, "" if ended == "SUCCEEDED" else message[:300])
    return State("RUNNING" if deployed == "Running" and ran in ("RUNNING", "") else "PENDING", deployed)


def apply_schedule(documents: list[dict[str, Any]]) -> None:
    """Create the objects of a schedule; those that exist are replaced, the service account is left as it is."""
    k8s = _clients()
    rbac = k8s.RbacAuthorizationV1Api()
    verbs = {
        "ServiceAccount": (k8s.CoreV1Api().create_namespaced_service_account, None),
        "Role": (rbac.create_namespaced_role, rbac.replace_namespaced_role),
        "RoleBinding": (rbac.create_namespaced_role_binding, rbac.replace_namespaced_role_binding),
        "CronJob": (k8s.BatchV1Api().create_namespaced_cron_job, k8s.BatchV1Api().replace_namespaced_cron_job),
    }
    for document in documents:
        create, replace = verbs[document["kind"]]
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        with _said_plainly():
            with _unless(409):
                create(namespace, document)
                continue
            if replace is not None:
                replace(name, namespace, document)


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """Documents as one YAML text, without anchors."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump_all(documents, Dumper=Plain, sort_keys=False, width=120, explicit_start=len(documents) > 1)


def _valid(submission: Submission) -> dict[str, Any]:
    rayjob = render_rayjob(submission)
    check_rayjob(rayjob)
    return rayjob


def _clients() -> Any:
    """The Kubernetes client, configured."""
    from kubernetes import client, config

    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"))
    except config.ConfigException as error:
        raise InputError(f"no Kubernetes cluster: {error}; set KUBECONFIG, or run inside the cluster") from None
    return client


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    """Leave the block quietly when the server answers with one of these."""
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        if error.status not in statuses:
            raise


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Turn the API server's answers into lines that say what to do."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        cures = {
            401: "log in again: the credentials of the kubeconfig are not accepted",
            403: "ask for the right, or take another --cluster.namespace",
            404: "install the KubeRay operator, 1.5.1 or newer, and create the namespace",
        }
        said = _message(error)
        cure = cures.get(error.status or 0, "correct what it names and submit again")
        raise InputError(f"Kubernetes answered {error.status}: {said}; {cure}") from None
    except HTTPError as error:
        raise InputError(
            f"the Kubernetes API server does not answer ({type(error).__name__}); check KUBECONFIG"
        ) from error


def _message(error: Any) -> str:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body)["message"])[:300]
    return str(error.reason)
