"""The client of Ray's job server, with an end of every request."""

from __future__ import annotations

from typing import Any

from ray.job_submission import JobSubmissionClient

from pipelines.targets.timeouts import limits


class JobClient(JobSubmissionClient):
    """One that waits for no silent server; the stream of a log is not among its requests."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": limits(), **options})
