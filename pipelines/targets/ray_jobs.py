"""Jobs on a Ray cluster, by its Jobs API: RAY_ADDRESS names the job server, RAY_AUTH_TOKEN gives access."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from requests.exceptions import RequestException

from aunet.errors import InputError, Unavailable
from pipelines.runtime.cluster import is_job_server
from pipelines.store import storage
from pipelines.store.addresses import check_server, holds_credentials, masked, shown
from pipelines.targets.job_client import JobClient
from pipelines.targets.submission import ENTRY, State, Submission
from pipelines.targets.variables import JOB
from pipelines.targets.waiting import Polls
from pipelines.tracking.address import tracking_uri

ROOT = Path(__file__).resolve().parents[2]
EXCLUDES = ["/*", "!/.", "!/aunet", "!/pipelines", "!/jobs", "__pycache__"]
"""Of the checkout only the code travels; the operator and the libraries are in the cluster's image."""
POLL_SECONDS = 2.0
"""Between two looks at a job that is waited for."""
QUIET_SECONDS = 300.0
"""After which a log without a new line is opened again: its connection may be dead."""
START_SECONDS = 30.0
"""In which a cluster that has just been started lists its nodes."""


class RayJobs:
    """Jobs of the cluster that RAY_API_SERVER_ADDRESS or RAY_ADDRESS names.

    Its methods raise `Unavailable` where the job server does not answer, or refuses.
    """

    def __init__(
        self,
        connect: Callable[[str], JobSubmissionClient] = JobClient,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.address = _address()
        self._connect, self._poll_seconds = connect, poll_seconds

    def render(self, submission: Submission) -> str:
        """The request to the job server."""
        with _answering(self.address):
            return yaml.safe_dump(self._request(self._client(), submission), sort_keys=False, width=1000)

    def state(self, id: str) -> State | None:
        """How the job stands."""
        with _answering(self.address):
            info = next((job for job in self._client().list_jobs() if job.submission_id == id), None)
        if info is None:
            return None
        code = info.driver_exit_code
        reason = (info.message or "").partition(", last available logs")[0]
        message = "" if info.status.value == "SUCCEEDED" else " ".join(reason.split())[:300]
        return State(info.status.value, message, None if code is None else int(code))

    def send(self, submission: Submission) -> None:
        """Upload the code and start the job."""
        with _answering(self.address):
            client = self._client()
            request = self._request(client, submission)
            if any(job.submission_id == submission.id for job in client.list_jobs()):
                client.delete_job(submission.id)
            try:
                client.submit_job(**request)
            except RuntimeError:  # another submission of the same job was faster
                if not any(job.submission_id == submission.id for job in client.list_jobs()):
                    raise

    def follow(self, id: str) -> State:
        """Show the log until the job has ended; a lost connection is resumed."""
        shown, polls, state = [0], Polls(), State("PENDING")
        while True:
            with contextlib.suppress(RuntimeError, OSError), _answering(self.address):
                asyncio.run(_tail(self._client(), id, shown))
            with polls.look():
                state = self.state(id)
            if state is None:
                raise Unavailable(f"{id}: the job is gone from {self.address}; submit it again")
            if state.ended:
                return state
            time.sleep(self._poll_seconds)

    def logs(self, id: str) -> str:
        """What the job has printed so far."""
        with _answering(self.address):
            return self._client().get_job_logs(id)

    def stop(self, id: str) -> None:
        """Ask the job to end, and wait until it has."""
        with _answering(self.address):
            self._client().stop_job(id)
        end = time.monotonic() + 60
        while (state := self.state(id)) and not state.ended and time.monotonic() < end:
            time.sleep(0.5)

    def _client(self) -> JobSubmissionClient:
        for name in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.ERROR)
        return self._connect(self.address)

    def _request(self, client: JobSubmissionClient, submission: Submission) -> dict[str, Any]:
        """What the server is sent; on this machine, without an image of ours, also this interpreter and this store."""
        here = _is_this_machine(client)
        environment = {**submission.environment, JOB: submission.id}
        if here:
            environment |= _own_addresses()
        else:
            _check_reachable(submission)
        return {
            "entrypoint": submission.command(sys.executable if here else "python", ENTRY),
            "submission_id": submission.id,
            "runtime_env": {"working_dir": str(ROOT), "excludes": EXCLUDES, "env_vars": environment},
            "metadata": {"verb": submission.verb, "preset": submission.preset},
        }


def _address() -> str:
    name = "RAY_API_SERVER_ADDRESS" if os.environ.get("RAY_API_SERVER_ADDRESS") else "RAY_ADDRESS"
    address = os.environ.get(name) or ""
    if not is_job_server(address):
        raise InputError(f"{name} = {shown(address)!r}: name the cluster's job server, such as {name}=http://HEAD:8265")
    try:
        return check_server(name, address).rstrip("/")
    except InputError as error:
        raise InputError(f"{error}: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN") from None


def _is_this_machine(client: JobSubmissionClient) -> bool:
    """Whether the cluster's nodes are this machine: an address of localhost may be a tunnel to another."""
    end = time.monotonic() + START_SECONDS
    while True:
        answer = client._do_request("GET", "/nodes?view=summary").json()
        names = {node.get("hostname") for node in answer.get("data", {}).get("summary", [])}
        if names or time.monotonic() > end:
            return names == {socket.gethostname()}
        time.sleep(0.5)


def _own_addresses() -> dict[str, str]:
    """The store and MLflow of this machine; a job has a working directory of its own."""
    addresses = {"AUNET_STORE": storage.store_root(), "MLFLOW_TRACKING_URI": tracking_uri()}
    return {name: value for name, value in addresses.items() if not holds_credentials(value)}


def _check_reachable(submission: Submission) -> None:
    """Refuse what another machine would not find."""
    problems, cure = [], "jobs start elsewhere; use s3://… or a path that all nodes share"
    store, data = submission.environment.get("AUNET_STORE", ""), submission.config.data
    if not _is_shared(store):
        problems.append(f"AUNET_STORE = {store!r}: {cure}" if store else f"AUNET_STORE is not set: {cure}")
    if data.shapes is None and not _is_shared(data.root):
        problems.append(f"data.root = {data.root!r}: {cure}")
    if problems:
        raise InputError(problems)


def _is_shared(uri: str) -> bool:
    """Whether other machines may find the same there: not where it depends on the working directory."""
    return storage.is_remote(uri) or os.path.isabs(urlsplit(uri).path)


async def _tail(client: JobSubmissionClient, id: str, shown: list[int]) -> None:
    """Write the log to stderr, from its character `shown[0]` on, which moves with it.

    Raises:
        TimeoutError: nothing has come for `QUIET_SECONDS`.
    """
    position, log = 0, aiter(client.tail_job_logs(id))
    while (text := await asyncio.wait_for(anext(log, None), QUIET_SECONDS)) is not None:
        sys.stderr.write(text[max(0, shown[0] - position) :])
        sys.stderr.flush()
        position += len(text)
        shown[0] = max(shown[0], position)


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    """Turn the client's errors into an `Unavailable` of one line with the cure."""
    try:
        yield
    except AuthenticationError:
        token = "another token" if os.environ.get("RAY_AUTH_MODE") == "token" else "a token"
        raise Unavailable(
            f"{address}: the job server wants {token}; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or "
            f"RAY_AUTH_TOKEN_PATH to the cluster's own"
        ) from None
    except (ConnectionError, RequestException, aiohttp.ClientError) as error:
        cure = "start the cluster, open the tunnel or correct RAY_ADDRESS"
        raise Unavailable(f"{address}: no job server answers; {cure}") from error
    except Unavailable:
        raise
    except RuntimeError as error:  # the client's word for every status that it does not expect, a proxy's too
        reason = masked(" ".join(str(error).split()))[:300]
        raise Unavailable(f"{address}: {reason}; correct what it names, or RAY_ADDRESS") from error
