"""`prove` after what it needs. A module of its own: it imports Ray, torch and MLflow, which no stage must wait for."""

from __future__ import annotations

from pipelines import prove as proving
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.training.proving.certificate import Certificate


def prove(config: RunConfig, kills: int, steps: int, seed: int, without_protection: bool) -> Certificate:
    """Train the configuration, shortened, with and without faults, and compare."""
    short = proving.shortened(config, steps)
    return proving.prove(short, preprocess(short), kills=kills, seed=seed, without_protection=without_protection)
