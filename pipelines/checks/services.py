"""What `doctor` looks at beyond the machine: Ray, the store, S3, MLflow. Each check gives up after seconds."""

from __future__ import annotations

import email.utils
import http.client
import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from aunet.errors import InputError
from pipelines import storage
from pipelines.checks.machine import Finding

SECONDS = 4.0
"""A server that takes longer to accept a connection counts as not there."""
RIVALS = 8
"""Of so many who create one file at the same moment, one may win."""
MAX_SKEW = 300.0
"""Seconds by which this clock may differ from the server's; S3 refuses requests at 900."""


def ray_cluster() -> Finding:
    """Ray, and the cluster that RAY_ADDRESS names."""
    import ray

    from pipelines.cluster import check_address, is_job_server, resources

    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_address(address)
        if is_job_server(address):
            return Finding(True, f"Ray {ray.__version__}, the job server at {address} takes connections")
    there = resources()
    where = f"the cluster at {address}" if address else "this machine"
    return Finding(True, f"Ray {ray.__version__}, {there['CPU']} CPUs and {there['GPU']} GPUs on {where}")


def store() -> Finding:
    """The store: what is written there can be read, is created once, and goes away."""
    root = storage.store_root()
    if root.startswith("s3://"):
        _reach(_s3_address())
    made = "://" in root or Path(root).exists()
    place = storage.join(root, f".doctor-{uuid.uuid4().hex[:8]}")
    file, content = storage.join(place, "file"), uuid.uuid4().bytes
    storage.write_bytes(file, content)
    if storage.read_bytes(file) != content:
        return Finding(False, f"{root}: gives back other bytes than were written", "name another AUNET_STORE")
    with ThreadPoolExecutor(RIVALS) as pool:
        once = [storage.join(place, "once")] * RIVALS
        created = sum(pool.map(storage.create_exclusive, once, [content] * RIVALS))
    storage.delete(place)
    if not made:
        Path(root).rmdir()
    if created != 1:
        cure = "take a server that honours If-None-Match: leases and promotions depend on it"
        return Finding(False, f"{root}: a file can be created twice", cure)
    return Finding(True, f"{root}: writes, reads, creates once, deletes")


def s3() -> Finding:
    """The S3 API server: reached, with keys, with the same time as here."""
    if not storage.store_root().startswith("s3://") and not storage.s3_endpoint():
        return Finding(True, "not used: the store is a folder")
    address = _s3_address()
    _reach(address)
    skew = _clock_skew(address)
    if skew is not None and abs(skew) > MAX_SKEW:
        return Finding(False, f"{address.geturl()}: this clock is {skew:+.0f} s off", "set the clock: chronyc makestep")
    source = storage.s3_credentials()
    if source is None:
        cure = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
        return Finding(False, f"{address.geturl()} answers, but there are no credentials", cure)
    told = "" if skew is None else f", clocks within {abs(skew):.0f} s"
    return Finding(True, f"{address.geturl()} answers, credentials from {source}{told}")


def mlflow() -> Finding:
    """The tracking server or database: reached, with our experiment readable."""
    from pipelines.tracking_address import is_new, shown_uri, tracking_uri

    if is_new():
        return Finding(True, f"{shown_uri()} will be made by the first run")
    address = urlsplit(tracking_uri())
    if address.hostname:
        _reach(address, shown_uri())
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from pipelines import tracking

    with tracking.answering():
        found = tracking.client().get_experiment_by_name(tracking.EXPERIMENT)
    experiment = f"experiment {tracking.EXPERIMENT}" + (" is there" if found else " will be made by the first run")
    return Finding(True, f"{shown_uri()} answers, {experiment}")


def _s3_address() -> SplitResult:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return urlsplit(storage.s3_endpoint() or f"https://s3.{region}.amazonaws.com")


def _reach(address: SplitResult, shown: str | None = None) -> None:
    """Open a connection and close it.

    Raises:
        InputError: nothing answers at the address.
    """
    port = address.port or {"https": 443, "http": 80}.get(address.scheme, 5432)
    try:
        socket.create_connection((address.hostname or "", port), SECONDS).close()
    except OSError as error:
        raise InputError(f"{shown or address.geturl()}: {error}") from None


def _clock_skew(address: SplitResult) -> float | None:
    """Seconds by which this clock is ahead of the server's; None: it does not tell the time."""
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=SECONDS)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    return time.time() - email.utils.parsedate_to_datetime(date).timestamp() if date else None
