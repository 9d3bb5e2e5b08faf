"""An application of Ray Serve for as long as a block runs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil

from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from aunet.errors import InputError, Unavailable
from pipelines.serving.deployment import NAME, application
from pipelines.serving.settings import ServerSettings

POLL_SECONDS = 0.2
"""Between two looks at whether the replicas have started, or whether to end."""
SAY_SECONDS = 30.0
"""Between two lines that say what is waited for."""


def check_room(settings: ServerSettings, available: Mapping[str, float]) -> None:
    """Refuse replicas that would wait for ever on a cluster that does not grow.

    Args:
        available: CPUs and GPUs of the whole cluster, as `resources` returns them.

    Raises:
        InputError: it has too few.
    """
    replicas, gpus = settings.replicas, settings.gpus
    needed_gpus = ceil(replicas / int(1 / gpus)) if 0 < gpus <= 1 else replicas * gpus  # no replica has parts of two
    for field, number, kind, needed in (
        ("--gpus", f"{gpus:g}", "GPU", needed_gpus),
        ("--cpus", f"{settings.cpus}", "CPU", replicas * settings.cpus),
    ):
        if needed > (held := available.get(kind, 0)):
            raise InputError(
                f"--replicas {replicas} {field} {number}: needs {needed:g} {kind}s, but the cluster has {held:g}; "
                f"use fewer --replicas, smaller {field}, or a larger cluster"
            )


@contextmanager
def served(settings: ServerSettings, host: str, port: int, is_told: Callable[[], bool]) -> Iterator[bool]:
    """Answer requests while the block runs; when it ends, those that were accepted are answered first.

    Ray must run. Where its Serve runs already, its own address stays, and so do its other applications. Gives whether
    requests are answered; False: it was told to end before the replicas had started.

    Args:
        is_told: whether to end; asked while the replicas start.

    Raises:
        Unavailable: the replicas do not start, with the reason.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    answers = False
    try:
        target = serve.RunTarget(application(settings.to_plain()), name=NAME)
        serve.run_many([target], wait_for_applications_running=False)  # `serve.run` waits for ever, whatever is told
        what = f"{settings.replicas} replicas with {settings.cpus} CPUs and {settings.gpus:g} GPUs each"
        answers = wait_until_running(what, lambda: serve.status().applications.get(NAME), is_told)
        yield answers
    finally:
        # Replicas that have not started take as long as the longest drain: Ray goes on without this process then.
        serve.delete(NAME, _blocking=answers)
        serve.status()  # answered after the deletion has arrived


def wait_until_running(
    what: str,
    look: Callable[[], ApplicationStatusOverview | None],
    is_told: Callable[[], bool],
    say_seconds: float = SAY_SECONDS,
) -> bool:
    """Wait for an application of Ray Serve to start, and say now and then that it has not.

    Args:
        what: is waited for.
        look: what Ray says of the application; None: there is none.
        is_told: whether to give up.

    Returns:
        Whether it has started; False: told to give up.

    Raises:
        Unavailable: it does not start, with the reason.
    """
    began = spoken = time.monotonic()
    while not is_told():
        seen = look()
        if seen is None or seen.status == ApplicationStatus.DEPLOY_FAILED:
            reason = seen.message if seen else "the application was deleted"
            raise Unavailable(f"serve: the replicas do not start: {reason}; see `ray status` and the log of Ray")
        if seen.status == ApplicationStatus.RUNNING:
            return True
        if (now := time.monotonic()) - spoken >= say_seconds:
            spoken = now
            reasons = [seen.message, *(deployment.message for deployment in seen.deployments.values())]
            why = " ".join(" ".join(reasons).split())[:300]
            tail = f": {why}" if why else ""
            print(f"serve · waits for {what}, {now - began:.0f} s so far{tail}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    return False
