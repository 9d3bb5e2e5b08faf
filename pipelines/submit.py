"""`submit`: a verb, and a preset if it has one → a job on this machine, Ray, Kubernetes or in a Kubeflow pipeline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aunet.errors import InputError
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.settings.run_config import RunConfig
from pipelines.targets.by_name import SENDING, JobsOf, submit_pipeline
from pipelines.targets.commands import check_words, command_submission
from pipelines.targets.schedule import name_of, render_schedule
from pipelines.targets.submission import State, Submission, Submitted, submission

LOOKING_ANEW = ("preprocess", "retrain")
"""Verbs for which there may be new data, under the same settings, and so the same id."""


def submit(
    config: RunConfig,
    *,
    verb: str,
    preset: str,
    base: RunConfig,
    run: str | None = None,
    keep: Mapping[str, Any] | None = None,
    target: str = "local",
    dry_run: bool = False,
    wait: bool = False,
    now: bool = False,
    targets: Mapping[str, JobsOf] = SENDING,
) -> Submitted:
    """Send a job, once: what runs or has succeeded already is not sent again, what failed or was stopped is.

    `LOOKING_ANEW` are sent again when they have succeeded. On Kubernetes `retrain` becomes a schedule, unless `now`.

    Args:
        base: the preset's own configuration, unchanged; the job receives the differences.
        run: the run that the verb works on.
        keep: settings that the job receives even where the preset has the same: they replace those of the run's model.
        dry_run: only return what would be sent, as `text`.
        wait: show the job's log until it ends; its exit code becomes the result's.
        targets: the jobs of each target, by its name.

    Raises:
        InputError: something would not arrive, or a variable that the target needs is missing.
        Unavailable: the target does not answer, or refuses.
    """
    scheduled = target == "kuberay" and verb == "retrain"
    if now and not scheduled:
        raise InputError("--now: only retrain on kuberay can go at once instead of by its schedule; leave --now out")
    if target == "kubeflow":
        if run:
            raise InputError(f"--run {run}: Kubeflow's pipeline trains a run of its own; leave --run out")
        return submit_pipeline(config, preset, verb, base, dry_run, wait)
    job = submission(config, verb=verb, preset=preset, base=base, run=run, keep=keep)
    if scheduled and not now:
        return _schedule(job, dry_run, wait)
    return _send(job, target, targets, dry_run, wait, again=verb in LOOKING_ANEW)


def submit_command(
    *,
    verb: str,
    words: Sequence[tuple[str, str]],
    workers: int | None,
    gpus: bool,
    cluster: ClusterConfig,
    target: str = "local",
    dry_run: bool = False,
    wait: bool = False,
    targets: Mapping[str, JobsOf] = SENDING,
) -> Submitted:
    """Send a verb that has no preset, once: what runs already is not sent again. What has ended is, in whatever way,
    for its folders may hold something else by now; a labelling that was killed goes on where it stopped.

    The arguments up to `cluster` are as for `command_submission`, the others as for `submit`.

    Raises:
        InputError, Unavailable: as for `submit`.
    """
    job = command_submission(verb, words, cluster, workers, gpus)
    if target != "local":
        check_words(job.words)
    return _send(job, target, targets, dry_run, wait, again=True)


def _send(
    job: Submission, target: str, targets: Mapping[str, JobsOf], dry_run: bool, wait: bool, again: bool
) -> Submitted:
    """Send a job that does not run already.

    Args:
        again: also where it has succeeded.
    """
    jobs = targets[target](job.config.cluster.namespace)
    if dry_run:
        return Submitted(submission_id=job.id, target=target, manifest=jobs.render(job))
    state = jobs.state(job.id)
    if state and state.status == "SCHEDULED":
        state = None
    sent = state is None or (state.ended and (state.status != "SUCCEEDED" or again))
    if sent:
        jobs.send(job)
    print(f"submit · {job.id} · {_outcome(state, sent)}", file=sys.stderr)
    if wait and (sent or not (state and state.ended)):
        state = jobs.follow(job.id)
    elif sent:
        state = jobs.state(job.id)
    assert state is not None
    return Submitted(
        submission_id=job.id,
        target=target,
        status=state.status,
        sent=sent,
        message=state.message or None,
        job_exit_code=exit_code(state) if wait else None,
    )


def exit_code(state: State) -> int:
    """A job's exit code: its own, else 0 for success and 1 for anything else."""
    if state.exit_code is not None:
        return state.exit_code
    return 0 if state.status == "SUCCEEDED" else 1


def _outcome(before: State | None, sent: bool) -> str:
    if before is None:
        return "sent"
    if not sent:
        hint = "; for what is new in the data since, use `retrain`" if before.status == "SUCCEEDED" else ""
        return f"is {before.status} already, nothing sent{hint}"
    return f"was {before.status}, sent again"


def _schedule(job: Submission, dry_run: bool, wait: bool) -> Submitted:
    from pipelines.targets.kuberay import apply_schedule, to_yaml  # no other target needs the Kubernetes client

    if wait:
        raise InputError("--wait: a schedule does not end; add --now to run one tick, or leave --wait out")
    documents, name = render_schedule(job), name_of(job)
    if dry_run:
        return Submitted(submission_id=job.id, target="kuberay", cron_job=name, manifest=to_yaml(documents))
    apply_schedule(documents)
    print(f"submit · {name} · scheduled at {job.config.cluster.schedule} UTC", file=sys.stderr)
    return Submitted(submission_id=job.id, target="kuberay", cron_job=name, status="SCHEDULED", sent=True)
