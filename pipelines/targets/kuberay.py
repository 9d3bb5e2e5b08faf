"""Jobs on Kubernetes, as RayJobs of the KubeRay operator. The only module that knows the Kubernetes client."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from aunet.documents import read_object
from aunet.errors import InputError, Unavailable
from pipelines.store.addresses import check_server, masked
from pipelines.targets.cluster_schema import check_rayjob
from pipelines.targets.rayjob import render_rayjob
from pipelines.targets.submission import State, Submission

T = TypeVar("T")

RAYJOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
POLL_SECONDS = 5.0
"""Between two looks at a job that is waited for."""
DELETE_SECONDS = 600.0
"""In which a deleted job must have released its cluster."""
MAX_FAILED_POLLS = 5
"""Looks in a row that may fail while a job is waited for."""


class KubeRayJobs:
    """RayJobs of one namespace; the cluster is that of the kubeconfig, or the one that this process runs in.

    Its methods raise `Unavailable` where the API server does not answer, or refuses, and `InputError` where nothing
    names a cluster.
    """

    def __init__(self, namespace: str, poll_seconds: float = POLL_SECONDS) -> None:
        self.namespace, self.poll_seconds = namespace, poll_seconds

    def render(self, submission: Submission) -> str:
        """The RayJob, validated."""
        return to_yaml([_valid(submission)])

    def state(self, id: str) -> State | None:
        """How the RayJob stands; SCHEDULED for a schedule's name, or its id before the first tick."""
        with _answering():
            if (rayjob := self._get(id)) is not None:
                return state_of(rayjob)
            schedule = self._schedule(id)
        if schedule is None:
            return None
        times = "suspended" if schedule.spec.suspend else f"{schedule.spec.schedule} UTC"
        return State("SCHEDULED", f"CronJob {schedule.metadata.name}: {times}")

    def send(self, submission: Submission) -> None:
        """Create the RayJob; one that has ended is deleted first."""
        body = _valid(submission)
        with _answering():
            api = _api(client.CustomObjectsApi)
            old = self._get(submission.id)
            if old is not None:
                api.delete_namespaced_custom_object(
                    **RAYJOBS, namespace=self.namespace, name=submission.id, propagation_policy="Foreground"
                )
                self._wait_until_gone(submission.id)
            with _unless(409):  # another submission of the same job was faster
                api.create_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, body=body)

    def follow(self, id: str) -> State:
        """Show what the submitter's pod prints until the RayJob has ended; a lost connection is resumed."""
        last, failures = "", 0
        while True:
            try:
                with _answering():
                    rayjob = self._get(id)
                last, failures = self._print_new_lines(id, last), 0
            except Unavailable as error:
                failures += 1
                if failures == MAX_FAILED_POLLS:
                    raise
                print(f"{error}; trying again", file=sys.stderr)
            else:
                if rayjob is None:
                    raise Unavailable(f"{id}: the RayJob was deleted while it was waited for; submit it again")
                if (state := state_of(rayjob)).ended:
                    return state
            time.sleep(self.poll_seconds)

    def logs(self, id: str) -> str:
        """What the newest submitter's pod has printed; empty where there is no pod yet, or no longer."""
        return "".join(f"{line.partition(' ')[2]}\n" for line in self._lines(id))

    def stop(self, id: str) -> None:
        """Suspend the RayJob: its cluster goes, its record and its checkpoints stay. Or suspend the schedule."""
        suspended = {"spec": {"suspend": True}}
        with _answering():
            if self._get(id) is not None:
                api = _api(client.CustomObjectsApi)
                api.patch_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id, body=suspended)
            elif (schedule := self._schedule(id)) is not None:
                _api(client.BatchV1Api).patch_namespaced_cron_job(schedule.metadata.name, self.namespace, suspended)

    def _get(self, id: str) -> dict[str, Any] | None:
        with _unless(404):
            api = _api(client.CustomObjectsApi)
            rayjob: Any = api.get_namespaced_custom_object(**RAYJOBS, namespace=self.namespace, name=id)
            return rayjob
        return None

    def _schedule(self, id: str) -> Any:
        """The CronJob of this name, or that carries this id; None where there is none, or none may be seen."""
        with _unless(403, 404):  # a tick may not read schedules, and has no need to
            for job in _api(client.BatchV1Api).list_namespaced_cron_job(self.namespace).items:
                if id in (job.metadata.name, (job.metadata.labels or {}).get("aunet/submission")):
                    return job
        return None

    def _wait_until_gone(self, id: str) -> None:
        end = time.monotonic() + DELETE_SECONDS
        while self._get(id) is not None:
            if time.monotonic() > end:
                raise Unavailable(f"{id}: the ended RayJob is still being deleted; check its finalizers, then retry")
            time.sleep(min(self.poll_seconds, 2.0))

    def _lines(self, id: str, since: int | None = None) -> list[str]:
        """Lines of the newest submitter's pod, each after its time."""
        with _answering(), _unless(400, 403, 404):
            api = _api(client.CoreV1Api)
            pods = api.list_namespaced_pod(self.namespace, label_selector=f"job-name={id}").items
            if pods:
                newest = max(pods, key=lambda pod: str(pod.metadata.creation_timestamp)).metadata.name
                options = {} if since is None else {"since_seconds": since}
                log = api.read_namespaced_pod_log(newest, self.namespace, timestamps=True, **options)
                return log.splitlines()
        return []

    def _print_new_lines(self, id: str, last: str) -> str:
        """Write lines later than `last` to stderr. Returns the time of the last one."""
        recent = int(POLL_SECONDS * (MAX_FAILED_POLLS + 1)) + 60
        for line in self._lines(id, since=recent if last else None):
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
    """Create the objects of a schedule; those that exist are replaced, the service account is left unchanged.

    Raises:
        Unavailable: the API server does not answer, or refuses.
    """
    core, rbac, batch = _api(client.CoreV1Api), _api(client.RbacAuthorizationV1Api), _api(client.BatchV1Api)
    verbs = {
        "ServiceAccount": (core.create_namespaced_service_account, None),
        "Role": (rbac.create_namespaced_role, rbac.replace_namespaced_role),
        "RoleBinding": (rbac.create_namespaced_role_binding, rbac.replace_namespaced_role_binding),
        "CronJob": (batch.create_namespaced_cron_job, batch.replace_namespaced_cron_job),
    }
    for document in documents:
        create, replace = verbs[document["kind"]]
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        with _answering():
            with _unless(409):
                create(namespace, document)
                continue
            if replace is not None:
                replace(name, namespace, document)


class PlainDumper(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(documents: list[Any]) -> str:
    """Documents as one YAML text, without anchors."""
    separate = len(documents) > 1
    return yaml.dump_all(documents, Dumper=PlainDumper, sort_keys=False, width=120, explicit_start=separate)


def _valid(submission: Submission) -> dict[str, Any]:
    rayjob = render_rayjob(submission)
    check_rayjob(rayjob)
    return rayjob


def _api(kind: type[T]) -> T:
    """A group of the Kubernetes API, configured again each time: tokens expire."""
    named = os.environ.get("KUBECONFIG") or None
    cure = "set KUBECONFIG to a file such as `kubectl config view --raw` prints, or run inside the cluster"
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and named is None:
            config.load_incluster_config()
        else:
            _check_files(named or config.KUBE_CONFIG_DEFAULT_LOCATION)
            config.load_kube_config(named)
        check_server("the server in KUBECONFIG", str(client.Configuration.get_default_copy().host))
        return kind()
    except InputError:
        raise
    except config.ConfigException as error:
        raise InputError(f"no Kubernetes cluster: {masked(' '.join(str(error).split()))[:300]}; {cure}") from None
    except (yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # The libraries' messages quote the file, which holds credentials.
        raise InputError(f"KUBECONFIG = {named or 'not set'}: not read ({type(error).__name__}); {cure}") from None


def _check_files(paths: str) -> None:
    """Refuse what could not be read, or would be read for ever."""
    for path in map(Path, filter(None, paths.split(os.pathsep))):
        if path.expanduser().exists() and not path.expanduser().is_file():
            raise InputError(f"KUBECONFIG = {path}: is not an ordinary file; name the file itself")


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    """Leave the block quietly when the server answers with one of these."""
    try:
        yield
    except ApiException as error:
        if error.status not in statuses:
            raise


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Turn the API server's refusals, and its silence, into an `Unavailable` of one line with the cure."""
    try:
        yield
    except ApiException as error:
        cures = {
            401: "log in again: the credentials of the kubeconfig are not accepted",
            403: "ask for the right, or use another --cluster.namespace",
            404: "install the KubeRay operator, 1.5.1 or newer, and create the namespace",
        }
        cure = cures.get(error.status or 0, "correct what it names and submit again")
        raise Unavailable(f"Kubernetes answered {error.status}: {_message(error)}; {cure}") from None
    except HTTPError as error:
        raise Unavailable(
            f"the Kubernetes API server does not answer ({type(error).__name__}); check KUBECONFIG"
        ) from error


def _message(error: ApiException) -> str:
    """What the server says, else the words of its status."""
    with contextlib.suppress(InputError, KeyError):
        return str(read_object(error.body or "", "the answer")["message"])[:300]
    return str(error.reason)
