"""A trace of some steps by torch.profiler."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


class StepProfiler:
    """Traces a window of steps; without a window it does nothing.

    Args:
        window: first step (from 0) and number of steps.
    """

    def __init__(self, window: tuple[int, int] | None, device: torch.device) -> None:
        self._window, self._is_cuda = window, device.type == "cuda"
        self._profile: profile | None = None

    def before(self, step: int) -> bytes | None:
        """Called before every step.

        Returns:
            The trace, once its last step is over: Chrome's JSON, gzip-compressed.
        """
        if self._window is None:
            return None
        first, count = self._window
        trace = self.finish() if step >= first + count else None
        if step == first:
            activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * self._is_cuda]
            self._profile = profile(activities=activities)
            self._profile.start()
        return trace

    def finish(self) -> bytes | None:
        """Close the window; its trace if it was open."""
        if self._profile is None:
            return None
        self._profile.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json.gz"
            self._profile.export_chrome_trace(str(path))
            self._profile = None
            return path.read_bytes()
