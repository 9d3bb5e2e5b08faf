"""MLflow runs: created once, with parameters, figures, tables and pictures."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from aunet.documents import read_json, type_of
from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.tracking.address import is_server
from pipelines.tracking.database import answering, client, unless_exists
from pipelines.tracking.delivery import Delivery

EXPERIMENT = "aunet"
TABLES = "mlflow.loggedArtifacts"
"""Tag of a run that names the artifacts which MLflow shows as tables."""
Point = tuple[str, float, int, int]
"""Name, value, milliseconds since 1970, step."""


def run_once(
    id_uri: str,
    name: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
) -> str:
    """The run whose id is kept at `id_uri`, created there if this is the first call; arguments as for `start_run`."""
    if not storage.exists(id_uri):
        storage.create_exclusive(id_uri, start_run(name, params, tags, parent).encode())
    return storage.read_bytes(id_uri).decode()


@answering()
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
    mlflow = client()
    marks = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
    run_id = mlflow.create_run(_experiment(mlflow), run_name=name, tags=marks).info.run_id
    entries = [Param(key, str(value)[:6000]) for key, value in params.items()]
    for start in range(0, len(entries), 100):
        mlflow.log_batch(run_id, params=entries[start : start + 100])
    return run_id


@answering()
def finish_run(run_id: str, status: str = "FINISHED") -> None:
    """Mark a run as FINISHED, FAILED or KILLED."""
    client().set_terminated(run_id, status)


@answering()
def set_tag(run_id: str, name: str, value: str) -> None:
    """Tag a run."""
    client().set_tag(run_id, name, value)


class Tracker:
    """Figures of a training loop on their way to a run: never waits, never raises, drops and counts when it must."""

    def __init__(self, run_id: str) -> None:
        self._delivery = Delivery[Point](lambda points: _log_points(run_id, points), f"MLflow run {run_id}: figures")

    @property
    def dropped(self) -> int:
        """Figures that did not arrive."""
        return self._delivery.dropped

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the figures of one step."""
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            self._delivery.put((name, value, now, step))

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Queue the figures of a run's event."""
        if event["kind"] != "failure":
            counters = ("step", "steps", "eta_s")
            figures = {k: v for k, v in event.items() if isinstance(v, float | int) and k not in counters}
            self.log_metrics(figures, event["step"])

    def close(self, timeout: float = 30.0) -> None:
        """Send what is waiting, for at most `timeout` seconds."""
        self._delivery.close(timeout)


def log_evaluation(run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log the metrics of an evaluation at once, and raise what goes wrong; a training loop uses `Tracker`."""
    now = int(time.time() * 1000)
    _log_points(run_id, [(name, value, now, step) for name, value in metrics.items()])


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
    if (known := find_experiment()) is not None:
        return known
    # A server decides for itself where artifacts go.
    artifacts = None if is_server() else Store.here().mlflow_artifacts_uri
    with unless_exists():
        return mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
    known = find_experiment()
    assert known is not None
    return known


@answering()
def _log_points(run_id: str, points: Sequence[Point]) -> None:
    metrics = [Metric(name, float(value), now, step) for name, value, now, step in points]
    client().log_batch(run_id, metrics=metrics)
