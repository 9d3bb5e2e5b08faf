"""`serve`: a model behind HTTP, until the process is told to end."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.serve import Application

from aunet.data.pictures import MAX_PIXELS
from aunet.errors import InputError, check
from pipelines.runtime.cluster import connect, ray_address, resources
from pipelines.runtime.code_version import check_code, code_version
from pipelines.runtime.growth import can_grow
from pipelines.runtime.interruption import caught_signals
from pipelines.serving.body_limit import proxy_environment
from pipelines.serving.current_model import CurrentModel
from pipelines.serving.deployment import NAME, application
from pipelines.serving.running import POLL_SECONDS, check_room, served
from pipelines.serving.settings import ServerSettings
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.store.artifacts import VerbResult
from pipelines.targets.by_name import send_service
from pipelines.targets.rayservice import ModelService
from pipelines.targets.submission import Submitted, travelling


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel(VerbResult):
    """A server that has ended as it was told."""

    model: str
    address: str
    """Host and port."""
    seconds: float
    """How long it answered."""


def serve(
    model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: int = 1,
    cpus: int = 1,
    batch: int = 8,
    batch_wait_ms: float = 5.0,
    queue: int = 64,
    max_bytes: int = 32 * 2**20,
    max_pixels: int | None = None,
    reload_seconds: float = 30.0,
    trust_exported: bool = False,
    gpus: float | None = None,
    target: str = "local",
    dry_run: bool = False,
    cluster: ClusterConfig | None = None,
    *,
    until: Callable[[], bool] | None = None,
) -> ServedModel | Submitted:
    """Answer `POST /panoptic`, `GET /model` and `GET /health` until SIGTERM or SIGINT, then end what was accepted.

    On KubeRay instead, a RayService answers until it is deleted.

    Args:
        model: as for `predict`; an alias is followed: what it points to later is served from then on.
        host: address to listen on; 0.0.0.0: all of this machine's, without any authentication.
        replicas: processes with a copy of the model, one GPU each where the cluster has GPUs.
        queue: images per replica that may wait or be worked on; the next one is answered with 429.
        gpus: of each replica; None: one where there are enough, on KubeRay where its nodes have GPUs.
        dry_run: only return the RayService, as `text`.
        cluster: where it runs on KubeRay; None: as in its defaults.
        until: asked now and then whether to end; None: only signals end it.

    Raises:
        InputError: there is no such model, it is damaged, a number is out of range, the port is taken, or the cluster
            is too small and does not grow.
        Unavailable: KubeRay's API server does not answer, or refuses.
    """
    cluster = cluster or ClusterConfig()
    if gpus is None:
        has_gpus = cluster.gpus_per_node > 0 if target == "kuberay" else resources().get("GPU", 0) >= replicas
        gpus = 1.0 if has_gpus else 0.0
    settings = ServerSettings(
        model=model,
        replicas=replicas,
        cpus=cpus,
        gpus=gpus,
        batch=batch,
        batch_wait_ms=batch_wait_ms,
        queue=queue,
        max_bytes=max_bytes,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        reload_seconds=reload_seconds,
        trust_exported=trust_exported,
    )
    check(0 < port < 65536, "--port", port, "use 1 … 65535")
    if target == "kuberay":
        return send_service(service_of(settings, port, cluster), dry_run)
    check(not dry_run, "--dry-run", dry_run, "only --target kuberay sends anything; leave it out")
    if ray_address() is None:
        check_free(host, port)
    CurrentModel(model, trust_exported=trust_exported)  # in this process, where its problems reach who calls
    os.environ |= proxy_environment(max_bytes)
    connect(num_cpus=max(os.cpu_count() or 1, replicas * cpus))
    if not can_grow():
        check_room(settings, resources())
    address, started = f"{host}:{port}", time.monotonic()
    with caught_signals() as signals:

        def is_told() -> bool:
            return bool(signals.name or (until and until()))

        with served(settings, host, port, is_told) as answers:
            if answers:
                print(f"serve · {model} · http://{address}", file=sys.stderr, flush=True)
            while not is_told():
                time.sleep(POLL_SECONDS)
            last = "answering what was accepted" if answers else "before the replicas had started"
            print(f"serve · {signals.name or 'told to end'} · {last}", file=sys.stderr, flush=True)
    return ServedModel(model=model, address=address, seconds=round(time.monotonic() - started, 1))


def service_of(settings: ServerSettings, port: int, cluster: ClusterConfig) -> ModelService:
    """What KubeRay is to run, with the variables of this process that travel."""
    return ModelService(
        model=settings.model,
        cluster=cluster,
        application={"name": NAME, "import_path": f"{__name__}:{in_pods.__name__}", "args": settings.to_plain()},
        replicas=settings.replicas,
        cpus=settings.cpus,
        gpus=settings.gpus,
        port=port,
        proxy_environment=proxy_environment(settings.max_bytes),
        environment=travelling(os.environ),
        code=code_version(),
    )


def check_free(host: str, port: int) -> None:
    """Make sure that a server can listen there.

    Raises:
        InputError: it cannot, with the reason.
    """
    try:
        with socket.create_server((host, port)):
            return
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror or error}; use another") from None


def in_pods(arguments: dict[str, Any]) -> Application:
    """What Ray Serve runs in pods: named as `import_path` of a RayService, with its `args`.

    Args:
        arguments: `ServerSettings` as JSON values.

    Raises:
        InputError: one of them is wrong, or the image holds other code than the service was submitted from.
    """
    check_code(os.environ)
    return application(arguments)
