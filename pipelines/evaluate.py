"""`evaluate`: a run and prepared data → report.json, report.html, what happened to every segment, and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aunet.categories import difference
from aunet.errors import InputError
from aunet.evaluation.comparison import Comparison, compare
from pipelines.data.manifest import Manifest
from pipelines.measuring.data_card import data_card
from pipelines.measuring.measured import Measured, read_measured, reports_with_outcomes
from pipelines.measuring.outcome_table import to_parquet
from pipelines.measuring.released import inference_settings
from pipelines.pages.report import ReportDocument, render_report
from pipelines.pages.report_head import NO_CHAMPION
from pipelines.runtime.code_version import code_version
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig, fingerprint, to_json
from pipelines.store import storage
from pipelines.store.artifacts import Outlook, PreparedData, Report, TrainedRun
from pipelines.store.hashes import digest
from pipelines.store.in_use import in_use
from pipelines.store.layout import Store
from pipelines.store.origin import Origin
from pipelines.store.run_folder import RunFolder

if TYPE_CHECKING:
    from pipelines.measuring.evaluation import Evaluation

REPORT_VERSION = 3
"""Raised when reports of earlier versions lack something, or measured it otherwise: they are made anew."""
Measure = Callable[[RunConfig, TrainedRun, PreparedData], "Evaluation"]
"""Measures a run's model on the validation split."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The model that the registry's alias names, as it was measured on the same validation images."""

    name: str = ""
    measured: Measured | None = None
    """None: it is not compared with."""
    uncompared: str = NO_CHAMPION
    """Why not."""


def evaluate(
    config: RunConfig, run: TrainedRun, prepared: PreparedData, *, apart: bool = False, measure: Measure | None = None
) -> Report:
    """Measure a run's model on the validation split of prepared data and write the report beside the run.

    A killed evaluation goes on where it was: what is measured is in the store.

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
    from pipelines.tracking import notes, runs as tracking, tracker

    known = {} if apart else {"data_fingerprint": prepared.fingerprint}
    training = RunFolder(run.uri)
    mlflow_run_id = tracking.run_once(training.mlflow_id_uri, run.fingerprint, params=flatten(config), tags=known)
    tracker.catch_up(mlflow_run_id, training.history.events(), "FINISHED")
    run = replace(run, mlflow_run_id=mlflow_run_id)
    champion = _champion(config, run, manifest)
    if measure is None:
        parts = folder.parts(fingerprint(key, digest(run.model_uri), code_version()))
        theirs = champion.measured.outcomes if champion.measured else None
        with in_use(training.in_use_uri):  # `gc` leaves the parts of an earlier attempt alone
            measured = measure_split(config, run, prepared, parts=parts, champion=theirs)
    else:
        measured = measure(config, run, prepared)
    metrics = measured.metrics
    for earlier in (folder.document_uri, folder.overlays_uri, folder.attention_uri):
        storage.delete(earlier)  # of a report made otherwise, which would stand beside the new outcomes
    for name, picture in measured.pictures.items():
        storage.write_bytes(storage.join(folder.uri, name), picture)
    outcomes = to_parquet(measured.outcomes, measured.tags, measured.categories)
    storage.write_bytes(folder.outcomes_uri, outcomes)
    report = Report(
        uri=folder.document_uri,
        fingerprint=key,
        metrics=metrics,
        html_uri=folder.html_uri,
        overlays_uri=folder.overlays_uri,
    )
    comparison = _compare(measured, champion)
    page = _page(config, run, prepared, measured, comparison, champion)
    storage.write_bytes(report.html_uri, page)
    mark = f"val_{validation}/" if apart else ""
    figures = {**metrics, **notes.class_figures(measured.per_class)}
    tracking.log_evaluation(run.mlflow_run_id, {f"{mark}{name}": m for name, m in figures.items()}, step=run.steps)
    tracking.log_table(run.mlflow_run_id, f"{mark}per_class.json", measured.per_class)
    files = {**measured.pictures, "outcomes.parquet": outcomes, report.html_uri.rpartition("/")[2]: page}
    tracking.log_artifacts(run.mlflow_run_id, {f"{mark}{name}": content for name, content in files.items()})
    document = {
        **metrics,
        "metrics": metrics,
        "per_class": measured.per_class,
        "attention": measured.attention,
        "model_uri": run.model_uri,
        "mlflow_run_id": run.mlflow_run_id,
        "prepared_uri": prepared.uri,
        "data_fingerprint": prepared.fingerprint,
        "val_fingerprint": validation,
        "settings": inference_settings(config.augment, config.fusion),
        "number_formats": measured.number_formats,
        "images": len(measured.outcomes.images),
        "champion": champion.name if comparison else None,
        "comparison": comparison.to_json() if comparison else None,
        "uncompared": None if comparison else champion.uncompared,
    }
    folder.write(report, document)
    for parts in folder.left_parts():
        parts.delete()
    return report


def find_report(run: TrainedRun) -> Report:
    """The report beside a run; where there is none, its last one on other data.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return RunFolder(run.uri).main_report().existing_report()


def outlook(config: RunConfig, run: TrainedRun | None, prepared: PreparedData | None) -> Outlook:
    """What `evaluate` would do; None: that artifact does not exist yet."""
    if run is None or prepared is None:
        return Outlook(stage="evaluate", action="run", why="the run is not finished")
    folder = RunFolder(run.uri).report()
    report = folder.report()
    if report is None:
        if folder.left_parts():
            return Outlook(stage="evaluate", action="resume", why="a part of the images is measured")
        return Outlook(stage="evaluate", action="run", why="there is no report yet")
    if report.fingerprint != report_key(config, run, Manifest.load(prepared.uri).split_fingerprint("val")):
        return Outlook(stage="evaluate", action="run", why="the report was made with other settings")
    return Outlook(stage="evaluate", action="skip", why=f"{folder.document_uri} exists")


def report_key(config: RunConfig, run: TrainedRun, validation: str) -> str:
    """Names the report that a configuration makes of a run and a validation split, given by its fingerprint."""
    return fingerprint(run.fingerprint, validation, config.fusion, config.augment, REPORT_VERSION)


def _champion(config: RunConfig, run: TrainedRun, manifest: Manifest) -> Champion:
    """The model to compare with, as it was measured on this split, or why there is none."""
    try:
        head = Store.here().ledger(config.register.model_name, config.register.alias).head()
        if head is None:
            return Champion()
        name = f"models:/{config.register.model_name}@{config.register.alias} (version {head.version})"
        if head.model_uri == run.model_uri:
            return Champion(name, uncompared=f"this model is {name}")
        reports = reports_with_outcomes(RunFolder(storage.parent(head.model_uri)))
        folder = reports.get(manifest.split_fingerprint("val"))
        measured = read_measured(folder) if folder else None
        if measured and difference(measured.categories.entries, manifest.categories.entries):
            return Champion(name, uncompared=f"not compared with {name}, which knows other categories")
        return Champion(name, measured, f"not compared with {name}, which was not measured on these images")
    except InputError as error:  # the report of this model does not depend on it
        print(f"evaluate · not compared with the champion: {error}", file=sys.stderr)
        return Champion(uncompared="not compared with the champion, whose report is damaged")


def _compare(measured: Evaluation, champion: Champion) -> Comparison | None:
    other = champion.measured
    if other is None or not np.array_equal(measured.outcomes.images, other.outcomes.images):
        return None
    ours, theirs = (one.outcomes.counts(measured.categories) for one in (measured, other))
    return compare(ours, theirs, measured.categories)


def _page(
    config: RunConfig,
    run: TrainedRun,
    prepared: PreparedData,
    measured: Evaluation,
    comparison: Comparison | None,
    champion: Champion,
) -> bytes:
    history = RunFolder(run.uri).history
    facts = {
        "run": run.fingerprint,
        "data": prepared.fingerprint,
        "steps": str(run.steps),
        "MLflow run": run.mlflow_run_id,
        "model": run.model_uri,
    }
    document = ReportDocument(
        title=config.name,
        facts=facts,
        metrics=measured.metrics,
        per_class=measured.per_class,
        attention=measured.attention,
        categories=measured.categories,
        outcomes=measured.outcomes,
        gallery=measured.gallery,
        events=history.events(),
        config=to_json(config),
        comparison=comparison,
        champion=champion.name if comparison else "",
        uncompared=champion.uncompared,
        data=data_card(prepared.uri),
        lineage=_lineage(Origin.of(history), run, prepared),
        command=f"python -m jobs reproduce {run.uri}",
    )
    return render_report(document).encode()


def _lineage(origin: Origin, run: TrainedRun, prepared: PreparedData) -> dict[str, Any]:
    """What the model was made from, by name; what is unknown is left out."""
    known = {
        "data": origin.prepared_uri,
        "data fingerprint": origin.data_fingerprint,
        "validation data": prepared.uri,
        "code": ", ".join(origin.code),
        "libraries": ", ".join(origin.libraries),
        "devices": ", ".join(origin.devices),
        "base weights": origin.weights,
        "base weights, SHA-256": origin.weights_sha256,
        "model": run.model_uri,
        "model, SHA-256": digest(run.model_uri),
    }
    return {name: value for name, value in known.items() if value}
