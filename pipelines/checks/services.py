"""What `doctor` checks beyond the machine: Ray, the store, S3, MLflow. Each check gives up after seconds."""

from __future__ import annotations

import email.utils
import http.client
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from aunet.errors import Unavailable
from pipelines.checks.machine import Finding
from pipelines.runtime.cluster import check_address, gpus_of_this_node, is_job_server, ray_address, resources
from pipelines.store import storage
from pipelines.store.addresses import location_of
from pipelines.store.layout import Store
from pipelines.tracking import QUIET
from pipelines.tracking.abandoned import abandoned, running_ids
from pipelines.tracking.address import EXPERIMENT, check_tracking, is_new, is_server, shown_uri, tracking_uri

SECONDS = 4.0
"""A server that needs longer to accept a connection counts as unreachable."""
RIVALS = 8
"""Of that many who create one file at the same moment, one may win."""
MAX_SKEW = 300.0
"""Seconds by which this clock may differ from the server's; S3 refuses requests at 900."""
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""MLflow's settings for a check, where the environment does not have others."""


def ray_cluster() -> Finding:
    """Ray, and the cluster that RAY_ADDRESS names."""
    import ray

    if address := ray_address():
        check_address(address)
        if is_job_server(address):
            return Finding(True, f"Ray {ray.__version__}, the job server at {address} accepts connections")
    available = resources()
    if (trouble := hidden_gpus()) is not None:
        return trouble
    where = f"the cluster at {address}" if address else "this machine"
    return Finding(True, f"Ray {ray.__version__}, {available['CPU']} CPUs and {available['GPU']} GPUs on {where}")


def hidden_gpus(
    counted: Callable[[], int] = gpus_of_this_node, visible: Callable[[], int] | None = None
) -> Finding | None:
    """What is wrong where Ray counts GPUs of this machine that torch does not see.

    Args:
        counted: by Ray.
        visible: to torch; None: as it says.
    """
    if not (number := counted()):
        return None
    seen = (visible or _visible_gpus)()
    if seen >= number:
        return None
    cure = (
        "give the container its GPUs: docker run --gpus all, in cluster.yaml worker_run_options: [--gpus all], on "
        "Kubernetes resources.limits nvidia.com/gpu"
    )
    return Finding(False, f"Ray counts {number} GPUs on this machine, but torch sees {seen}", cure)


def _visible_gpus() -> int:
    torch = sys.modules.get("torch")  # `doctor` has imported it, where it can be
    return torch.cuda.device_count() if torch else 0


def store(create: Callable[[str, bytes], bool] = storage.create_exclusive) -> Finding:
    """The store: what is written there can be read, is created once, and can be deleted.

    Args:
        create: writes a file unless there is one, and returns whether it did.
    """
    root = storage.store_root()
    if storage.is_s3(root):
        _reach_s3()
    existed = storage.is_remote(root) or Path(root).exists()
    folder = storage.join(root, f".doctor-{uuid.uuid4().hex[:8]}")
    file, content = storage.join(folder, "file"), uuid.uuid4().bytes
    storage.write_bytes(file, content)
    if storage.read_bytes(file) != content:
        return Finding(False, f"{root}: returns other bytes than were written", "name another AUNET_STORE")
    with ThreadPoolExecutor(RIVALS) as pool:
        once = [storage.join(folder, "once")] * RIVALS
        created = sum(pool.map(create, once, [content] * RIVALS))
    storage.delete(folder)
    if not existed:
        Path(root).rmdir()
    if created != 1:
        cure = "use a server that honours If-None-Match: leases and promotions depend on it"
        return Finding(False, f"{root}: a file can be created twice", cure)
    return Finding(True, f"{root}: writes, reads, creates once, deletes")


def s3(now: Callable[[], float] = time.time) -> Finding:
    """The S3 API server: reachable, with keys, with the same time as here.

    Args:
        now: seconds since 1970 on this machine's clock.
    """
    from pipelines.store.s3 import credentials_source, endpoint

    if not storage.is_s3(storage.store_root()) and not endpoint():
        return Finding(True, "not used: the store is a folder")
    address = _s3_address()
    _reach_s3()
    skew = _clock_skew(address, now)
    if skew is not None and abs(skew) > MAX_SKEW:
        return Finding(False, f"{address.geturl()}: this clock is {skew:+.0f} s off", "set the clock: chronyc makestep")
    source = credentials_source()
    if source is None:
        cure = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
        return Finding(False, f"{address.geturl()} answers, but there are no credentials", cure)
    clocks = "" if skew is None else f", clocks within {abs(skew):.0f} s"
    return Finding(True, f"{address.geturl()} answers, credentials from {source}{clocks}")


def mlflow() -> Finding:
    """The tracking server or database: reachable, with our experiment readable."""
    if is_new():
        return Finding(True, f"{shown_uri()} will be created by the first run")
    check_tracking()
    address = location_of(tracking_uri())
    if address.host:
        is_tls = tracking_uri().startswith("https:")
        _reach(address.host, address.port or (443 if is_tls else 80 if is_server() else 5432), shown_uri())
    os.environ |= {name: value for name, value in IMPATIENT.items() if os.environ.get(name) == QUIET[name]}
    state = "will be created by the first run" if running_ids() is None else "exists"
    return Finding(True, f"{shown_uri()} answers, experiment {EXPERIMENT} {state}")


def runs() -> Finding:
    """Trainings whose driver was killed and that MLflow therefore shows as RUNNING."""
    here = Store.here()
    left = abandoned(here.without_links()[1]) if here.exists() else {}
    if not left:
        return Finding(True, "none is RUNNING in MLflow without a driver")
    run_id, uri = next(iter(left.items()))
    detail = f"RUNNING in MLflow though nobody drives them: {len(left)}, such as {run_id} of {uri}"
    return Finding(True, detail, "train again, which resumes, or mark them as KILLED: python -m jobs gc")


def _s3_address() -> SplitResult:
    from pipelines.store.s3 import address

    return urlsplit(address())


def _reach_s3() -> None:
    address = _s3_address()
    _reach(address.hostname or "", address.port or (443 if address.scheme == "https" else 80), address.geturl())


def _reach(host: str, port: int, shown_address: str) -> None:
    """Open a connection and close it.

    Raises:
        Unavailable: nothing answers at the address.
    """
    try:
        socket.create_connection((host, port), SECONDS).close()
    except (OSError, UnicodeError) as error:  # a name that is too long for DNS
        raise Unavailable(f"{shown_address}: {error}") from None


def _clock_skew(address: SplitResult, now: Callable[[], float]) -> float | None:
    """Seconds by which this clock is ahead of the server's; None: it does not tell the time."""
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=SECONDS)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    return now() - email.utils.parsedate_to_datetime(date).timestamp() if date else None
