"""Servers of models on Kubernetes, as RayServices of the KubeRay operator."""

from __future__ import annotations

from typing import Any

from kubernetes import client

from pipelines.targets.kuberay_api import answering, api_of, to_yaml, unless
from pipelines.targets.rayservice import ModelService, render_rayservice
from pipelines.targets.submission import Submitted

RAYSERVICES = {"group": "ray.io", "version": "v1", "plural": "rayservices"}


def send_service(service: ModelService, dry_run: bool = False) -> Submitted:
    """Create the RayService, or replace its previous one.

    KubeRay changes over to a changed cluster when that is ready; where only what Ray Serve runs has changed, the
    cluster stays.

    Args:
        dry_run: only return the RayService, as `text`.

    Raises:
        InputError: no cluster of these settings could run it.
        Unavailable: the API server does not answer, or refuses.
    """
    body, name = render_rayservice(service), service.name
    if dry_run:
        return Submitted(submission_id=name, target="kuberay", manifest=to_yaml([body]))
    of_all: dict[str, Any] = {**RAYSERVICES, "namespace": service.cluster.namespace}
    sent = Submitted(submission_id=name, target="kuberay", sent=True)
    with answering():
        api = api_of(client.CustomObjectsApi)
        with unless(409):
            api.create_namespaced_custom_object(**of_all, body=body, field_validation="Strict")
            return sent
        before: Any = api.get_namespaced_custom_object(**of_all, name=name)
        body["metadata"]["resourceVersion"] = before["metadata"].get("resourceVersion")
        api.replace_namespaced_custom_object(**of_all, name=name, body=body, field_validation="Strict")
    return sent
