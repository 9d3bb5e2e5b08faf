"""The targets that run jobs, by their names.

Ray, kfp and the Kubernetes client are slow to import: only the target that needs one has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from aunet.errors import InputError
from pipelines.targets.local_jobs import LocalJobs
from pipelines.targets.rayservice import ModelService
from pipelines.targets.submission import Jobs, SentJobs, Submitted

JobsOf = Callable[[str], Jobs]
"""The jobs of a target, given the namespace of Kubernetes."""
SentJobsOf = Callable[[str], SentJobs]


def _kubeflow(namespace: str) -> SentJobs:
    try:
        kubeflow = importlib.import_module("pipelines.targets.kubeflow")
    except ImportError as error:
        install = 'uv pip install -c constraints.txt "kfp[kubernetes]"'
        raise InputError(f"--target kubeflow: kfp is not installed ({error}); run {install}") from None
    return kubeflow.KubeflowJobs(namespace)


SENDING: dict[str, JobsOf] = {
    "local": lambda namespace: LocalJobs(),
    "ray": lambda namespace: importlib.import_module("pipelines.targets.ray_jobs").RayJobs(),
    "kuberay": lambda namespace: importlib.import_module("pipelines.targets.kuberay").KubeRayJobs(namespace),
}
TARGETS: dict[str, SentJobsOf] = {**SENDING, "kubeflow": _kubeflow}


def send_service(service: ModelService, dry_run: bool = False) -> Submitted:
    """Send the server of a model to KubeRay, as `pipelines.targets.kuberay_service.send_service`."""
    return importlib.import_module("pipelines.targets.kuberay_service").send_service(service, dry_run)
