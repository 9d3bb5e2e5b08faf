"""`run`: raw data → prepared shards → trained run → report → registered model, skipping what already exists."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from pipelines import storage
from pipelines.artifacts import RegisteredModel, Report, TrainedRun
from pipelines.config import RunConfig


def run(config: RunConfig) -> dict[str, Any]:
    """Run all stages in order.

    Returns:
        The metrics at top level, and the artifact of every stage by its name.
    """
    from pipelines.evaluate import evaluate
    from pipelines.preprocess import preprocess
    from pipelines.register import register
    from pipelines.train import train

    prepared = _stage("preprocess", preprocess, config)
    trained = _stage("train", train, config)
    report = _stage("evaluate", evaluate, config, trained.uri)
    registered = _stage("register", register, config, trained.uri)
    _summary(report, trained, registered)
    return {
        **report.metrics,
        "prepared": asdict(prepared),
        "run": asdict(trained),
        "report": asdict(report),
        "model": asdict(registered),
    }


def _stage(name: str, stage: Any, config: RunConfig, *upstream: str) -> Any:
    started = time.monotonic()
    artifact = stage(config, *upstream)
    print(f"{name} · {config.name} · {time.monotonic() - started:.1f} s · {artifact.uri}", file=sys.stderr)
    return artifact


def _summary(report: Report, trained: TrainedRun, registered: RegisteredModel) -> None:
    """The table of PQ and where everything lies, for people."""
    from pipelines.pages.tables import print_quality
    from pipelines.tracking_address import shown_uri

    document = json.loads(storage.read_bytes(report.uri))
    print_quality(report.metrics, document["per_class"], trained.fingerprint)
    places = {
        "pictures": report.overlays_uri,
        "report": report.html_uri,
        "MLflow": f"run {trained.mlflow_run_id} in {shown_uri()}",
        "model": f"{registered.uri} at {trained.model_uri}",
    }
    for name, place in places.items():
        print(f"{name:>9}  {place}", file=sys.stderr)
