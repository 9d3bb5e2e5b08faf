"""MLflow runs: created once, with parameters, figures, tables and pictures."""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from aunet.documents import read_json, type_of
from aunet.errors import InputError, Unavailable
from aunet.names import printable
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.tracking.address import EXPERIMENT, is_server, shown_uri
from pipelines.tracking.database import REQUEST, answering, client, pages, unless_exists
from pipelines.tracking.delivery import answer_within

PATIENCE = 15.0
"""Seconds that the beginning and the end of a training wait for what they can do without."""
RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}", re.ASCII)
"""What MLflow accepts as the id of a run."""
TABLES = "mlflow.loggedArtifacts"
"""Tag of a run that names the artifacts which MLflow shows as tables."""
PARENT = "mlflow.parentRunId"
"""Tag of a run that names the one it belongs to."""
CREATION = "aunet.creation"
"""Tag of a run that says which call created it."""


def run_once(
    id_uri: str,
    name: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
) -> str:
    """The run whose id is kept at `id_uri`; arguments as for `start_run`.

    It is created there if this is the first call, or if the run does not exist any more, which is said on stderr. Where
    MLflow does not answer and the id is known, that is the run.

    Raises:
        Unavailable: there is no id yet, and MLflow does not answer.
    """
    marks = {**(tags or {}), **({PARENT: parent} if parent else {})}
    kept = storage.read_bytes(id_uri).decode(errors="replace") if storage.exists(id_uri) else None
    if kept is not None:
        try:
            if answer_within(PATIENCE, lambda: _complete(kept, params, marks), "MLflow"):
                return kept
        except (Unavailable, OSError) as error:
            print(f"MLflow run {kept}: {error}; going on without asking", file=sys.stderr)
            return kept
    run_id = _create(name, marks)
    if kept is not None:
        storage.write_bytes(id_uri, run_id.encode())
        lost = f"MLflow run {printable(kept):.80} does not exist at {shown_uri()}, or was deleted there"
        print(f"{lost}; {run_id} replaces it, with its figures", file=sys.stderr)
    elif not storage.create_exclusive(id_uri, run_id.encode()):  # another process was faster
        _delete(run_id)
        return run_once(id_uri, name, params=params, tags=tags, parent=parent)
    _log_params(run_id, params)
    return run_id


def start_run(
    name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, parent: str | None = None
) -> str:
    """Create a run and return its id.

    Args:
        params: settings by dotted name.
        parent: id of the run that this one belongs to.

    Raises:
        Unavailable: the tracking server does not answer; so with all functions here.
    """
    run_id = _create(name, {**(tags or {}), **({PARENT: parent} if parent else {})})
    _log_params(run_id, params)
    return run_id


def finish_run(run_id: str, status: str = "FINISHED") -> None:
    """Mark a run as FINISHED, FAILED or KILLED; that MLflow does not do it in time is a line on stderr, no error."""
    try:
        answer_within(PATIENCE, lambda: close_run(run_id, status), "MLflow")
    except (InputError, Unavailable, OSError) as error:
        print(f"MLflow run {run_id} lacks its status {status}: {error}", file=sys.stderr)


@answering()
def close_run(run_id: str, status: str) -> None:
    """The same, and raise what goes wrong."""
    client().set_terminated(run_id, status)


@answering()
def running_runs() -> set[str] | None:
    """Ids of the runs that MLflow shows as RUNNING; None: our experiment does not exist yet."""
    experiment = find_experiment()
    if experiment is None:
        return None
    running = pages(lambda **page: client().search_runs([experiment], "attributes.status = 'RUNNING'", **page))
    return {run.info.run_id for run in running}


@answering()
def set_tag(run_id: str, name: str, value: str) -> None:
    """Tag a run."""
    client().set_tag(run_id, name, value)


@answering()
def log_evaluation(run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log the metrics of an evaluation at once, and raise what goes wrong; a training loop uses `Tracker`.

    What MLflow has already of the same evaluation, which was killed before it wrote its report, is not logged twice.
    """
    run, now = client().get_run(run_id), int(time.time() * 1000)
    lacking = {name: float(value) for name, value in metrics.items() if not _has(run, name, float(value), step)}
    figures = [Metric(name, value, now, step) for name, value in lacking.items()]
    for first in range(0, len(figures), REQUEST):
        client().log_batch(run_id, metrics=figures[first : first + REQUEST])


@answering()
def log_artifacts(run_id: str, files: Mapping[str, bytes]) -> None:
    """Upload files, given as name → content, into the run's artifacts."""
    with tempfile.TemporaryDirectory() as local:
        for name, content in files.items():
            path = Path(local, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client().log_artifacts(run_id, local)


@answering()
def log_table(run_id: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with equal keys as the artifact `name` (ending in .json), which MLflow shows as a table."""
    columns = list(rows[0]) if rows else []
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    log_artifacts(run_id, {name: json.dumps(table).encode()})
    mlflow = client()
    tables = read_json(mlflow.get_run(run_id).data.tags.get(TABLES, "[]"), f"tag {TABLES} of MLflow run {run_id}")
    if not isinstance(tables, list):
        raise InputError(f"tag {TABLES} of MLflow run {run_id} holds {type_of(tables)}, not a list; delete the tag")
    entry = {"path": name, "type": "table"}
    if entry not in tables:
        mlflow.set_tag(run_id, TABLES, json.dumps([*tables, entry]))


@answering()
def find_experiment() -> str | None:
    """Id of our experiment; None: it does not exist yet."""
    experiment = client().get_experiment_by_name(EXPERIMENT)
    return None if experiment is None else experiment.experiment_id


def _experiment(mlflow: MlflowClient) -> str:
    """Id of the experiment, created where it is missing."""
    known = mlflow.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        if known.lifecycle_stage != "active":  # its name is not free, and nothing can be logged in it
            mlflow.restore_experiment(known.experiment_id)
        return known.experiment_id
    # A server decides for itself where artifacts go.
    artifacts = None if is_server() else Store.here().mlflow_artifacts_uri
    with unless_exists():
        return mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
    created = find_experiment()
    assert created is not None
    return created


def _has(run: Run, name: str, value: float, step: int) -> bool:
    """Whether a run has a figure, with that value, at a step."""
    points = client().get_metric_history(run.info.run_id, name) if name in run.data.metrics else []
    return any(m.step == step and (m.value == value or (math.isnan(m.value) and math.isnan(value))) for m in points)


@answering()
def _create(name: str, tags: Mapping[str, str]) -> str:
    """A new run; if its answer was lost and MLflow's client asked again, the server has two, and one is deleted."""
    mlflow, token = client(), uuid.uuid4().hex
    experiment = _experiment(mlflow)
    run_id = mlflow.create_run(experiment, run_name=name, tags={**tags, CREATION: token}).info.run_id
    for run in mlflow.search_runs([experiment], f"tags.`{CREATION}` = '{token}'"):
        if run.info.run_id != run_id:
            mlflow.delete_run(run.info.run_id)
    return run_id


@answering()
def _delete(run_id: str) -> None:
    client().delete_run(run_id)


@answering()
def _complete(run_id: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Write the parameters and tags that a run lacks; returns whether there is such a run."""
    if not RUN_ID.fullmatch(run_id):
        return False
    try:
        run = client().get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    if run.info.lifecycle_stage != "active":
        return False
    _log_params(run_id, {name: value for name, value in params.items() if name not in run.data.params})
    for name, value in tags.items():
        if name not in run.data.tags or (name == PARENT and run.data.tags[name] != value):
            client().set_tag(run_id, name, value)
    return True


@answering()
def _log_params(run_id: str, params: Mapping[str, Any]) -> None:
    entries = [Param(name, str(value)[:6000]) for name, value in params.items()]
    for start in range(0, len(entries), 100):
        client().log_batch(run_id, params=entries[start : start + 100])
