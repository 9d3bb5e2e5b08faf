"""What the driver of a run gives to the workers of an attempt. Ray's controller reads it too: nothing here is heavy."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.settings.run_config import RunConfig
from pipelines.store.lease import Fence


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What a worker of one attempt is to do."""

    config: RunConfig
    prepared_uri: str
    run_uri: str
    attempt: str
    """Names the attempt in the checkpoints that it writes."""
    is_answered: bool = False
    """Whether somebody answers evaluations by whether the run must end."""
    best_steps: tuple[int, ...] = ()
    """The step with the best PQ so far, if there was an evaluation."""
    best_pq: float = float("-inf")
    fence: Fence | None = None
    """Of the driver's lease; None: nobody else drives the run."""
    audit_uri: str = ""
    """Folder in which every rank notes the images that reach the network, see `proving.audit`; empty: nobody asks."""
