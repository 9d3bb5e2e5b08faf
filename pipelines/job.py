"""`job`: how a submitted job stands, what it said, and its end."""

from __future__ import annotations

from typing import Any

from aunet.errors import InputError
from pipelines.submit import place


def job(
    *, id: str, target: str = "local", logs: bool = False, stop: bool = False, namespace: str = "default"
) -> dict[str, Any]:
    """The state of the job that `submit` gave this id.

    Args:
        logs: also give what it has said, as `text`.
        stop: end it first; its checkpoints stay.
        namespace: of Kubernetes.

    Returns:
        `submission_id`, `target`, `status`, and `message` and `job_exit_code` where there are any.

    Raises:
        InputError: there is no such job, or the target cannot be reached.
    """
    jobs = place(target, namespace)
    state = jobs.state(id)
    if state is None:
        raise InputError(f"--id {id}: no such job on target {target}; take the submission_id that `submit` printed")
    if stop and not state.ended:
        jobs.stop(id)
        state = jobs.state(id) or state
    said = jobs.logs(id) if logs else ""
    return {
        "text": said if said.endswith("\n") or not said else said + "\n",
        "submission_id": id,
        "target": target,
        "status": state.status,
        **({"message": state.message} if state.message else {}),
        **({"job_exit_code": state.exit_code} if state.exit_code is not None else {}),
    }
