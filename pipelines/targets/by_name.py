"""The targets that run jobs, by their names.

Ray, kfp and the Kubernetes client are slow to import: only the target that needs one has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from aunet.errors import InputError
from pipelines.settings.run_config import RunConfig
from pipelines.targets.local_jobs import LocalJobs
from pipelines.targets.rayservice import ModelService
from pipelines.targets.submission import Jobs, SentJobs, Submitted

JobsOf = Callable[[str], Jobs]
"""The jobs of a target, given the namespace of Kubernetes."""
SentJobsOf = Callable[[str], SentJobs]


def _kubeflow() -> Any:
    try:
        return importlib.import_module("pipelines.targets.kubeflow")
    except ImportError as error:
        install = 'uv pip install -c constraints.txt "kfp[kubernetes]"'
        raise InputError(f"--target kubeflow: kfp is not installed ({error}); run {install}") from None


SENDING: dict[str, JobsOf] = {
    "local": lambda namespace: LocalJobs(),
    "ray": lambda namespace: importlib.import_module("pipelines.targets.ray_jobs").RayJobs(),
    "kuberay": lambda namespace: importlib.import_module("pipelines.targets.kuberay").KubeRayJobs(namespace),
}
TARGETS: dict[str, SentJobsOf] = {**SENDING, "kubeflow": lambda namespace: _kubeflow().KubeflowJobs(namespace)}


def send_service(service: ModelService, dry_run: bool = False) -> Submitted:
    """Send the server of a model to KubeRay, as `pipelines.targets.kuberay_service.send_service`."""
    return importlib.import_module("pipelines.targets.kuberay_service").send_service(service, dry_run)


def submit_pipeline(
    config: RunConfig, preset: str, verb: str, base: RunConfig, dry_run: bool = False, wait: bool = False
) -> Submitted:
    """Send the pipeline of a preset to Kubeflow, as `pipelines.targets.kubeflow.submit_pipeline`."""
    return _kubeflow().submit_pipeline(config, preset, verb, base, dry_run, wait)
