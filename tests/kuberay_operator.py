"""A stand-in for KubeRay: validates and prunes its objects by the real CRDs, and runs RayJobs as processes.

What it does follows rayjob_controller.go: New → Initializing → Running → Complete or Failed; a failed job is Retrying
as long as it has failed at most `backoffLimit` times, unless its deadline passed; a stopped job is Complete; a
suspended one loses its cluster; `ttlSecondsAfterFinished` after the end the cluster goes. The entrypoint runs in a
shell with exactly the head's environment, Secrets included, in a folder of its own, with the code of an image: nothing
of the process that submitted it. The job server is a stand-in too: it can stop the job.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ray

from tests.kuberay_crds import mistakes, schema_of, times_of_event, unknown_fields
from tests.kubernetes_api import Api, api_server

ROOT = Path(__file__).parents[1]
NAMESPACE = "/api/v1/namespaces/default"
KUBERAY = "/apis/ray.io/v1/namespaces/default/"
RAYJOBS = f"{KUBERAY}rayjobs"
FAILURES = {
    "image": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry/aunet:1"'}},
    "secret": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "aunet" not found'}},
}
"""States of a container that does not start."""


def build_image(folder: Path) -> Path:
    """The code as the Dockerfile copies it."""
    for package in ("aunet", "pipelines", "jobs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Operator(Api):
    """The API server of a cluster, and the operator in it.

    Args:
        version: of the CRDs.
        folder: for the pods' files.
        speed: how many seconds of the cluster pass in one of ours.
    """

    def __init__(self, version: str, folder: Path, image: Path, speed: float = 10.0) -> None:
        super().__init__()
        self.version, self.folder, self.image, self.speed = version, folder, image, speed
        self.failure = ""
        """How pods fail: image, secret, unschedulable, quota, validation; empty: they do not."""
        self.clusters: list[dict[str, int]] = []
        """GPUs and nodes of every cluster that was created, and the seconds for which it was kept after its job."""
        self.statuses: list[str] = []
        """Deployment statuses that were reported, in order."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopped: set[str] = set()
        self.evicted: list[str] = []
        self.lock = threading.RLock()
        self.has_ended = False
        self.began = time.monotonic()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._job_server())
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self._loop, daemon=True).start()

    @property
    def now(self) -> float:
        """Seconds of the cluster since it began."""
        return (time.monotonic() - self.began) * self.speed

    def answer(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        with self.lock:
            if method in ("POST", "PUT") and url.startswith(KUBERAY):
                assert body is not None
                schema = schema_of(self.version, url.removeprefix(KUBERAY).split("?")[0].split("/")[0])
                unknown = list(unknown_fields(body, schema))
                if unknown and "fieldValidation=Strict" in url:
                    return 400, {"message": f"strict decoding error: unknown field {unknown[0]!r}"}
                if wrong := mistakes(body, schema):
                    return 422, {"message": f"{body['kind']} is invalid: {wrong[0]}"}
                body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
            job, answer = self.objects.get(url.partition("?")[0]), super().answer(method, url, body)
            if method == "DELETE" and url.startswith(RAYJOBS) and job and answer[0] == 200:
                self._delete_cluster(job)
            return answer

    def end(self) -> None:
        self.has_ended = True
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.server.shutdown()
        self.server.server_close()

    def kill(self) -> None:
        """Lose the head of the newest cluster."""
        os.killpg(list(self.processes.values())[-1].pid, signal.SIGKILL)

    def evict(self, grace: float) -> None:
        """Evict the head of the newest cluster, as a kubelet whose node runs out of memory.

        Args:
            grace: seconds between SIGTERM and SIGKILL.
        """
        id, process = list(self.processes.items())[-1]
        with self.lock:
            head = next(path for path in self.objects if path.endswith("-head") and id.removesuffix("-id") in path)
            reason = {"reason": "Evicted", "message": "The node was low on resource: memory."}
            self.objects[head]["status"] = {"phase": "Failed", **reason}
            self.evicted.append(head.rpartition("/")[2])
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _loop(self) -> None:
        while not self.has_ended:
            with self.lock:
                for job in [thing for path, thing in self.objects.items() if path.startswith(RAYJOBS)]:
                    status = job.setdefault("status", {})
                    before = status.get("jobDeploymentStatus", "")
                    self._reconcile(job, job["spec"], status)
                    if (after := status.get("jobDeploymentStatus", "")) != before:
                        self.statuses.append(after)
            time.sleep(0.05)

    def _reconcile(self, job: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> None:
        state = status.get("jobDeploymentStatus", "")
        if state == "" and self.failure == "validation":
            status |= {"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed", "message": "bad spec"}
        elif state == "":
            name = f"{job['metadata']['name']}-{len(self.clusters)}"
            status |= {"jobId": f"{name}-id", "rayClusterName": name, "started": self.now}
            status |= {"jobDeploymentStatus": "Initializing", "jobStatus": ""}
            self._create_pods(job, name)
        elif state in ("Initializing", "Running") and spec.get("suspend"):
            self._delete_cluster(job)
            status |= {"jobDeploymentStatus": "Suspended", "jobStatus": ""}
        elif state in ("Initializing", "Running") and self.now - status["started"] > spec["activeDeadlineSeconds"]:
            self._end(job, "Failed", status.get("jobStatus", ""), "DeadlineExceeded")
        elif state == "Initializing" and not self.failure:
            self._start(job, status)
            status |= {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
        elif state == "Running" and (code := self.processes[status["jobId"]].poll()) is not None:
            self._show_log(job, status)
            if status["jobId"] in self.stopped:
                self._end(job, "Complete", "STOPPED")
            elif code == 0:
                self._end(job, "Complete", "SUCCEEDED")
            else:
                self._end(job, "Failed", "FAILED", "AppFailed", f"exit code {code}")
        elif state == "Running":
            self._show_log(job, status)
        elif state in ("Complete", "Failed") and "ended" in status:
            if self.now - status["ended"] >= spec["ttlSecondsAfterFinished"]:
                self.clusters[-1]["kept"] = round(self.now - status.pop("ended"))
                self._delete_cluster(job)
        elif state == "Retrying":
            self._delete_cluster(job)
            status |= {"jobDeploymentStatus": "", "jobStatus": ""}

    def _end(self, job: dict[str, Any], state: str, ran: str, reason: str = "", message: str = "") -> None:
        status = job["status"]
        status |= {"jobDeploymentStatus": state, "jobStatus": ran, "reason": reason, "message": message}
        status["ended"] = self.now
        if state == "Failed":
            status["failed"] = status.get("failed", 0) + 1
            if status["failed"] <= job["spec"]["backoffLimit"] and reason != "DeadlineExceeded":
                status["jobDeploymentStatus"] = "Retrying"

    def _create_pods(self, job: dict[str, Any], cluster: str) -> None:
        spec = job["spec"]["rayClusterSpec"]
        groups = spec["workerGroupSpecs"]
        limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
        gpus = sum(
            int(limit.get("nvidia.com/gpu", 0)) * group["replicas"] for limit, group in zip(limits, groups, strict=True)
        )
        self.clusters.append({"gpus": gpus, "nodes": sum(group["replicas"] for group in groups), "kept": -1})
        if self.failure == "quota":
            self._event("RayCluster", cluster, "FailedToCreateWorkerPod", "exceeded quota: gpus, limited: 4")
            return
        templates = {"head": spec["headGroupSpec"]["template"], **{g["groupName"]: g["template"] for g in groups}}
        for kind, template in templates.items():
            name = f"{cluster}-{kind}"
            container = template["spec"]["containers"][0]
            state = {"name": container["name"], "imageID": f"{container['image']}@sha256:{'7' * 64}"}
            status: dict[str, Any] = {"phase": "Running", "containerStatuses": [state]}
            if self.failure in FAILURES:
                status["phase"] = "Pending"
                state |= {"imageID": "", "state": FAILURES[self.failure]}
            if self.failure == "unschedulable":
                message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                status = {"phase": "Pending", "conditions": [condition]}
            labels = {"ray.io/cluster": cluster}
            self.objects[f"{NAMESPACE}/pods/{name}"] = {"metadata": {"name": name, "labels": labels}, "status": status}

    def _event(self, kind: str, name: str, reason: str, message: str) -> None:
        path = f"{NAMESPACE}/events/{len(self.objects)}"
        about = {"kind": kind, "name": name}
        event = {"type": "Warning", "reason": reason, "message": message, "involvedObject": about}
        self.objects[path] = {"metadata": {"name": path}, **times_of_event(self.version), **event}

    def _start(self, job: dict[str, Any], status: dict[str, Any]) -> None:
        """Run the entrypoint as the job server on the head does."""
        id, folder = status["jobId"], self.folder / status["jobId"]
        (folder / "home").mkdir(parents=True)
        container = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
        own = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "PYTHONPATH": str(self.image),
            "PYTHONUNBUFFERED": "1",
            "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"metadata": {"job_submission_id": id}}),
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.server.server_port}",
        }
        with open(folder / "log", "wb") as log:
            self.processes[id] = subprocess.Popen(
                ["sh", "-c", job["spec"]["entrypoint"]],
                env={**own, **self.environment_of(container)},
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def environment_of(self, container: dict[str, Any]) -> dict[str, str]:
        """A container's variables, as Kubernetes makes them of its manifest and of Secrets."""
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            secret = self.objects.get(f"{NAMESPACE}/secrets/{source['secretRef']['name']}")
            environment |= (secret or {}).get("stringData", {})
        return environment | {entry["name"]: entry["value"] for entry in container.get("env", [])}

    def _show_log(self, job: dict[str, Any], status: dict[str, Any]) -> None:
        """As the submitter's pod: its log is the job's."""
        name, pod = job["metadata"]["name"], f"{status['jobId']}-submitter"
        moment = f"2026-01-01T00:00:{len(self.clusters):02}Z"
        metadata = {"name": pod, "labels": {"job-name": name}, "creationTimestamp": moment}
        self.objects[f"{NAMESPACE}/pods/{pod}"] = {"metadata": metadata, "status": {"phase": "Running"}}
        lines = (self.folder / status["jobId"] / "log").read_text(errors="replace").splitlines()
        self.logs[pod] = "".join(f"{moment[:-1]}.{number:06}Z {line}\n" for number, line in enumerate(lines))

    def _delete_cluster(self, job: dict[str, Any]) -> None:
        status = job.get("status", {})
        if process := self.processes.get(status.get("jobId", "")):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        prefix = f"{NAMESPACE}/pods/{status.get('rayClusterName', 'none')}"
        for path in [path for path in self.objects if path.startswith(prefix) and not path.endswith("submitter")]:
            del self.objects[path]

    def _job_server(self) -> type[BaseHTTPRequestHandler]:
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({"version": "4", "ray_version": ray.__version__, "ray_commit": "x", "session_name": "s"})

            def do_POST(self) -> None:
                id = self.path.rstrip("/").split("/")[-2]
                operator.stopped.add(id)
                self.answer({"stopped": True})
                os.killpg(operator.processes[id].pid, signal.SIGTERM)

            def answer(self, content: dict[str, Any]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def kuberay(version: str, folder: Path, image: Path) -> Iterator[tuple[Operator, str]]:
    """Run one; yields it and the path of a kubeconfig that leads to it."""
    operator = Operator(version, folder, image)
    try:
        with api_server(folder, operator) as (_, config):
            yield operator, config
    finally:
        operator.end()
