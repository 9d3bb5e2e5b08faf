"""The targets that run jobs, by their names.

Ray and the Kubernetes client are slow to import: only the target that needs one has it.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.targets.local_jobs import LocalJobs
from pipelines.targets.submission import Jobs

JobsOf = Callable[[str], Jobs]
"""The jobs of a target, given the namespace of Kubernetes."""


def _ray(namespace: str) -> Jobs:
    from pipelines.targets.ray_jobs import RayJobs

    return RayJobs()


def _kuberay(namespace: str) -> Jobs:
    from pipelines.targets.kuberay import KubeRayJobs

    return KubeRayJobs(namespace)


TARGETS: dict[str, JobsOf] = {"local": lambda namespace: LocalJobs(), "ray": _ray, "kuberay": _kuberay}
"""Kubeflow is none of them: it runs the whole main job as a pipeline."""
