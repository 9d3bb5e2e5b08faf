"""`job`: how a submitted job stands, what it printed, and its end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError, Unavailable
from aunet.names import check_name
from pipelines.store.artifacts import VerbResult
from pipelines.targets.by_name import TARGETS, SentJobsOf
from pipelines.targets.job_end import last_state, read_logs
from pipelines.targets.submission import State


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState(VerbResult):
    """How a submitted job stands."""

    submission_id: str
    target: str
    state: State
    log: str = ""
    """What it has printed so far, where `logs` was given; no JSON key."""

    def to_json(self) -> dict[str, Any]:
        """Ids and `status`, and `message` and `job_exit_code` where there are any."""
        return {
            "submission_id": self.submission_id,
            "target": self.target,
            "status": self.state.status,
            **({"message": self.state.message} if self.state.message else {}),
            **({"job_exit_code": self.state.exit_code} if self.state.exit_code is not None else {}),
        }

    @property
    def text(self) -> str:
        """The log, as whole lines."""
        return self.log + "\n" if self.log and not self.log.endswith("\n") else self.log


def job(
    *,
    id: str,
    target: str = "local",
    logs: bool = False,
    stop: bool = False,
    namespace: str = "default",
    targets: Mapping[str, SentJobsOf] = TARGETS,
) -> JobState:
    """The state of the job that `submit` gave this id.

    Args:
        logs: also return what it has printed, as `text`.
        stop: end it first; its checkpoints stay.
        namespace: of Kubernetes.
        targets: as for `submit`.

    What the target does not know any more, because its cluster is gone, is told as the store has it.

    Raises:
        InputError: there is no such job, its record is damaged, or a variable that the target needs is missing.
        Unavailable: the target does not answer, or refuses, and the job has left no end in the store.
    """
    check_name("--id", id)
    jobs = targets[target](namespace)
    try:
        state = jobs.state(id)
    except Unavailable as error:
        state = None if stop else last_state(id)
        if state is None:
            raise
        print(f"{error}; what follows is from the store", file=sys.stderr)
        return JobState(submission_id=id, target=target, state=state, log=read_logs(id) if logs else "")
    if state is None:
        state = last_state(id)
        if state is None:
            raise InputError(f"--id {id}: no such job on target {target}; use the submission_id that `submit` printed")
        return JobState(submission_id=id, target=target, state=state, log=read_logs(id) if logs else "")
    if stop and not state.ended:
        jobs.stop(id)
        state = jobs.state(id) or state
    log = (jobs.logs(id) or read_logs(id)) if logs else ""
    return JobState(submission_id=id, target=target, state=state, log=log)
