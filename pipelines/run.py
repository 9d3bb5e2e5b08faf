"""`run`: raw data → prepared shards → trained run → report → registered model, skipping what already exists."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from aunet.errors import Refused
from pipelines.data.manifest import Manifest
from pipelines.evaluate import evaluate
from pipelines.measuring.gating.namesakes import other_categories
from pipelines.pages.tables import print_quality
from pipelines.preprocess import preprocess
from pipelines.presets import PRESETS
from pipelines.register import register
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import Artifact, PreparedData, RegisteredModel, Report, TrainedRun, VerbResult
from pipelines.store.run_folder import read_report
from pipelines.tracking.address import check_tracking, shown_uri
from pipelines.train import train
from pipelines.training.advice import foreign_name

A = TypeVar("A", bound=Artifact)


@dataclass(frozen=True, kw_only=True, slots=True)
class MainJob(VerbResult):
    """The artifact of every stage."""

    prepared: PreparedData
    run: TrainedRun
    report: Report
    model: RegisteredModel

    def to_json(self) -> dict[str, Any]:
        """The metrics at top level, and the artifacts by name."""
        return {**self.report.metrics, **asdict(self)}


def run(config: RunConfig) -> MainJob:
    """Run all stages in order.

    Raises:
        InputError: MLFLOW_TRACKING_URI cannot be used, besides what the stages raise.
        Refused: the champion of `register.model_name` knows other categories; nothing is trained then.
    """
    check_tracking()
    for text in foreign_name(config, PRESETS):
        print(f"warning: {text}", file=sys.stderr)
    prepared = _timed("preprocess", config, lambda: preprocess(config))
    if refusal := other_categories(config.register, Manifest.load(prepared.uri).categories):
        raise Refused(refusal)
    trained = _timed("train", config, lambda: train(config, prepared))
    report = _timed("evaluate", config, lambda: evaluate(config, trained, prepared))
    model = _timed("register", config, lambda: register(config, report))
    job = MainJob(prepared=prepared, run=trained, report=report, model=model)
    _summarize(job)
    return job


def _timed(name: str, config: RunConfig, stage: Callable[[], A]) -> A:
    started = time.monotonic()
    artifact = stage()
    print(f"{name} · {config.name} · {time.monotonic() - started:.1f} s · {artifact.uri}", file=sys.stderr)
    return artifact


def _summarize(job: MainJob) -> None:
    """The table of PQ and where everything is, for people."""
    print_quality(job.report.metrics, read_report(job.report.uri)["per_class"], job.run.fingerprint)
    locations = {
        "pictures": job.report.overlays_uri,
        "report": job.report.html_uri,
        "MLflow": f"run {job.run.mlflow_run_id} in {shown_uri()}",
        "model": f"{job.model.uri} at {job.run.model_uri}",
    }
    for name, location in locations.items():
        print(f"{name:>9}  {location}", file=sys.stderr)
