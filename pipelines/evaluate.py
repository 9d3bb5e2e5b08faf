"""`evaluate`: a run and prepared data → report.json, report.html, overlays and pictures of its attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.data.manifest import Manifest
from pipelines.pages.report import render_report
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig, fingerprint, to_json
from pipelines.store import storage
from pipelines.store.artifacts import Outlook, PreparedData, Report, TrainedRun
from pipelines.store.run_folder import ATTENTION, OVERLAYS, RunFolder

if TYPE_CHECKING:
    from pipelines.measuring.evaluation import Evaluation

Measure = Callable[[RunConfig, TrainedRun, PreparedData], "Evaluation"]
"""Measures a run's model on the validation split."""


def evaluate(
    config: RunConfig, run: TrainedRun, prepared: PreparedData, *, apart: bool = False, measure: Measure | None = None
) -> Report:
    """Measure a run's model on the validation split of prepared data and write the report beside the run.

    Args:
        config: gives the fusion, the input size and the workers; the network is the run's own.
        apart: for data that are not the run's own: the report goes below `reports/` and its figures in MLflow are
            marked, so that nothing mistakes them for the run's own.
        measure: None: `measuring.evaluation.measure_split`.

    Raises:
        InputError: the model is damaged, or knows other categories than the data.
        Unavailable: MLflow does not answer; what it lacks of the training is delivered before the model is measured.
    """
    manifest = Manifest.load(prepared.uri)
    validation = manifest.split_fingerprint("val")
    folder = RunFolder(run.uri).report(validation if apart else None)
    key = report_key(config, run, validation)
    if (report := folder.report()) and report.fingerprint == key:
        return report
    from pipelines.measuring.evaluation import measure_split  # an existing report needs no Ray, torch or MLflow
    from pipelines.tracking import runs as tracking, tracker

    known = {} if apart else {"data_fingerprint": prepared.fingerprint}
    training = RunFolder(run.uri)
    mlflow_run_id = tracking.run_once(training.mlflow_id_uri, run.fingerprint, params=flatten(config), tags=known)
    tracker.catch_up(mlflow_run_id, training.history.events(), "FINISHED")
    run = replace(run, mlflow_run_id=mlflow_run_id)
    measured = (measure or measure_split)(config, run, prepared)
    metrics = measured.metrics
    for name, picture in measured.pictures.items():
        storage.write_bytes(storage.join(folder.uri, name), picture)
    report = Report(
        uri=folder.document_uri,
        fingerprint=key,
        metrics=metrics,
        html_uri=folder.html_uri,
        overlays_uri=folder.overlays_uri,
    )
    page = _page(config, run, prepared, measured)
    storage.write_bytes(report.html_uri, page)
    mark = f"val_{validation}/" if apart else ""
    tracking.log_evaluation(run.mlflow_run_id, {f"{mark}{name}": m for name, m in metrics.items()}, step=run.steps)
    tracking.log_table(run.mlflow_run_id, f"{mark}per_class.json", measured.per_class)
    files = {**measured.pictures, report.html_uri.rpartition("/")[2]: page}
    tracking.log_artifacts(run.mlflow_run_id, {f"{mark}{name}": content for name, content in files.items()})
    document = {
        **metrics,
        "metrics": metrics,
        "per_class": measured.per_class,
        "attention": measured.attention,
        "model_uri": run.model_uri,
        "mlflow_run_id": run.mlflow_run_id,
        "data_fingerprint": prepared.fingerprint,
        "val_fingerprint": validation,
    }
    folder.write(report, document)
    return report


def find_report(run: TrainedRun) -> Report:
    """The report beside a run.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return RunFolder(run.uri).report().existing_report()


def outlook(config: RunConfig, run: TrainedRun | None, prepared: PreparedData | None) -> Outlook:
    """What `evaluate` would do; None: that artifact does not exist yet."""
    if run is None or prepared is None:
        return Outlook(stage="evaluate", action="run", why="the run is not finished")
    folder = RunFolder(run.uri).report()
    report = folder.report()
    if report is None:
        return Outlook(stage="evaluate", action="run", why="there is no report yet")
    if report.fingerprint != report_key(config, run, Manifest.load(prepared.uri).split_fingerprint("val")):
        return Outlook(stage="evaluate", action="run", why="the report was made with other settings")
    return Outlook(stage="evaluate", action="skip", why=f"{folder.document_uri} exists")


def report_key(config: RunConfig, run: TrainedRun, validation: str) -> str:
    """Names the report that a configuration makes of a run and a validation split, given by its fingerprint."""
    return fingerprint(run.fingerprint, validation, config.fusion, config.augment)


def _page(config: RunConfig, run: TrainedRun, prepared: PreparedData, measured: Evaluation) -> bytes:
    galleries: dict[str, list[tuple[str, bytes]]] = {}
    for path, picture in measured.pictures.items():
        folder, name = path.split("/")
        galleries.setdefault(folder, []).append((name, picture))
    html = render_report(
        title=f"{config.name} · PQ {measured.metrics['PQ']:.1f}",
        facts={
            "run": run.fingerprint,
            "data": prepared.fingerprint,
            "steps": str(run.steps),
            "MLflow run": run.mlflow_run_id,
            "model": run.model_uri,
        },
        metrics=measured.metrics,
        per_class=measured.per_class,
        events=RunFolder(run.uri).history.events(),
        overlays=galleries.get(OVERLAYS, []),
        attention=measured.attention,
        attention_pictures=galleries.get(ATTENTION, []),
        config=to_json(config),
    )
    return html.encode()
