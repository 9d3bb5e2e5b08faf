"""What Ray sends to the workers of a training run. Whoever receives it imports this file, and nothing that is heavy."""

from __future__ import annotations

from typing import Any


def work(settings: dict[str, Any]) -> None:
    """Run `train_worker`, imported in the worker: Ray's controller, which receives this too, needs no network."""
    from pipelines.training.worker import train_worker

    train_worker(settings)
