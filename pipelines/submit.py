"""`submit`: a verb and a preset → a job on this machine, on Ray, on Kubernetes or in a Kubeflow pipeline."""

from __future__ import annotations

import sys
from typing import Any

from aunet.errors import InputError
from pipelines.config import RunConfig
from pipelines.targets.submission import Jobs, State, Submission, submission


def submit(
    config: RunConfig,
    *,
    run: str | None = None,
    verb: str,
    preset: str,
    target: str = "local",
    dry_run: bool = False,
    wait: bool = False,
    now: bool = False,
) -> dict[str, Any]:
    """Send a job, once: what runs or has succeeded already is not sent again, what failed or was stopped is.

    Only `retrain` is sent again when it has succeeded, for every tick is a new job. On Kubernetes it becomes a
    schedule, unless `now`.

    Args:
        run: the run that the verb works on.
        dry_run: only say what would be sent, as `text`.
        wait: show the job's log until it ends.

    Returns:
        `submission_id`, `target`, `status`, `sent`, and with `wait` the job's `exit_code`.

    Raises:
        InputError: something would not arrive, or the target cannot be reached.
    """
    if target == "kubeflow":
        from pipelines.targets import kubeflow

        return kubeflow.submit_pipeline(config, preset, verb, dry_run=dry_run)
    job = submission(config, verb=verb, preset=preset, run=run)
    scheduled = target == "kuberay" and verb == "retrain"
    if now and not scheduled:
        raise InputError("--now: only retrain on kuberay is a schedule; leave --now out")
    if scheduled and not now:
        return _schedule(job, dry_run, wait)
    jobs = place(target, config.cluster.namespace)
    result: dict[str, Any] = {"submission_id": job.id, "target": target}
    if dry_run:
        return {"text": jobs.render(job), **result}
    state = jobs.state(job.id)
    if state and state.status == "SCHEDULED":
        state = None
    sent = state is None or (state.ended and (state.status != "SUCCEEDED" or verb == "retrain"))
    if sent:
        jobs.send(job)
    print(f"submit · {job.id} · {_told(state, sent)}", file=sys.stderr)
    if wait and (sent or not (state and state.ended)):
        state = jobs.follow(job.id)
    elif sent:
        state = jobs.state(job.id)
    assert state is not None
    result |= {"status": state.status, "sent": sent, **({"message": state.message} if state.message else {})}
    return {**result, "exit_code": exit_code(state)} if wait else result


def place(target: str, namespace: str) -> Jobs:
    """Where the jobs of a target run."""
    if target == "local":
        from pipelines.targets.local_jobs import LocalJobs

        return LocalJobs()
    if target == "ray":
        from pipelines.targets.ray_jobs import RayJobs

        return RayJobs()
    from pipelines.targets.kuberay import KubeRayJobs

    return KubeRayJobs(namespace)


def exit_code(state: State) -> int:
    """A job's exit code: its own, else 0 for success and 1 for anything else."""
    if state.exit_code is not None:
        return state.exit_code
    return 0 if state.status == "SUCCEEDED" else 1


def _told(before: State | None, sent: bool) -> str:
    if before is None:
        return "sent"
    if not sent:
        return f"is {before.status} already, nothing sent"
    return "sent, a new tick" if before.status == "SUCCEEDED" else f"was {before.status}, sent again"


def _schedule(job: Submission, dry_run: bool, wait: bool) -> dict[str, Any]:
    from pipelines.targets.kuberay import apply_schedule, to_yaml
    from pipelines.targets.schedule import name_of, render_schedule

    if wait:
        raise InputError("--wait: a schedule does not end; add --now to run one tick, or leave --wait out")
    documents = render_schedule(job)
    result = {"submission_id": job.id, "target": "kuberay", "cron_job": name_of(job)}
    if dry_run:
        return {"text": to_yaml(documents), **result}
    apply_schedule(documents)
    print(f"submit · {name_of(job)} · scheduled at {job.config.cluster.schedule} UTC", file=sys.stderr)
    return {**result, "status": "SCHEDULED", "sent": True}
