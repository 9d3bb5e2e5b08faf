"""What Ray sends to the workers of an evaluation. Whoever receives it imports this file, and nothing that is heavy."""

from __future__ import annotations

from typing import Any


class ShareActor:
    """A `share.Share` in an actor, imported and built there: the driver needs no network.

    Args:
        assignment: the arguments of `Share`.
    """

    def __init__(self, assignment: dict[str, Any]) -> None:
        self.assignment = assignment
        self.share: Any = None

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the share. What building it raises comes from here, as itself."""
        from pipelines.measuring.share import Share

        self.share = self.share or Share(**self.assignment)
        return getattr(self.share, method)(*arguments)
