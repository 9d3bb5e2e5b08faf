"""`submit`; a tick of `retrain` on Kubernetes first looks whether there is news, so that no GPU starts for nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pipelines import preprocess as preparing, submit as sending
from pipelines.settings.run_config import RunConfig
from pipelines.targets.submission import Submitted, submission

Ended = Callable[[RunConfig], Any]
"""As `pipelines.retrain.ended_tick`: what has ended the tick of this configuration; None: there may be work."""


def submit(
    config: RunConfig,
    *,
    verb: str,
    preset: str,
    base: RunConfig,
    target: str = "local",
    dry_run: bool = False,
    now: bool = False,
    ended: Ended | None = None,
    send: Callable[..., Submitted] = sending.submit,
    **options: Any,
) -> Submitted:
    """Send a job, as `pipelines.submit`.

    A tick of `retrain` on Kubernetes, sent with `now`, is decided here as far as that needs no GPU: new data is
    prepared by a job of its own, and where nothing is new nothing else is sent.

    Args:
        ended: looks for the tick's record; None: as `retrain` does.
        send: in place of `pipelines.submit`.

    Raises:
        InputError, Unavailable: as `pipelines.submit`; also what `retrain` can tell without any work.
    """
    job: dict[str, Any] = {"preset": preset, "base": base, "target": target}
    if now and not dry_run and (verb, target) == ("retrain", "kuberay"):
        # It needs MLflow, and no other job does.
        look: Ended = ended or importlib.import_module("pipelines.retrain").ended_tick
        if preparing.outlook(config).prepared is None:
            prepared = send(config, verb="preprocess", wait=True, **job)
            if prepared.exit_code:
                return prepared
        if (tick := look(config)) is not None:
            id = submission(config, verb=verb, preset=preset, base=base).id
            nothing = {"status": "SUCCEEDED", "sent": False, "message": tick.reason, "job_exit_code": 0}
            return Submitted(submission_id=id, target=target, **nothing)
    return send(config, verb=verb, dry_run=dry_run, now=now, **job, **options)
