"""`submit` of a verb that has no preset."""

from __future__ import annotations

from pipelines.submit import submit_command as submit

__all__ = ["submit"]
