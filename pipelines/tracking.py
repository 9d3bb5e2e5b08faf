"""MLflow: runs, tables, pictures and the model registry. The only module that knows it.

Without MLFLOW_TRACKING_URI everything goes into one SQLite file in the store (in the working directory when the
store is on S3), artifacts into `mlartifacts` in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.delivery import Delivery
from pipelines.retries import MAX_ATTEMPTS
from pipelines.tracking_address import connection_uri, shown_uri, without_password

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "aunet"
PREFIX = "models:/"
Point = tuple[str, float, int, int]
"""Name, value, milliseconds since 1970, step."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
}
"""Taken where the environment says nothing."""


def client() -> MlflowClient:
    """A client of the tracking server; where that is a database, its tables are made first.

    Raises:
        InputError: there is no such server or database, or its tables belong to another MLflow.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    uri = connection_uri()
    with answering():
        if uri.startswith("sqlite:///"):
            _prepare_sqlite(uri)
        if uri.startswith("postgresql"):
            _prepare_postgresql(uri)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=uri)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Let MLflow's errors be an InputError of one line, without a password."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        said = without_password(" ".join(str(getattr(error, "orig", error)).split()))[:300]
        cure = "start the server, or correct or unset MLFLOW_TRACKING_URI"
        raise InputError(f"MLFLOW_TRACKING_URI = {shown_uri()!r}: {said}; {cure}") from None


def start_run(
    name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, parent: str | None = None
) -> str:
    """Make a run and return its id; keep the id, and the run goes on however often its process starts anew.

    Args:
        params: settings by dotted name.
        parent: id of the run that this one belongs to.

    Raises:
        InputError: the tracking server does not answer.
    """
    mlflow = client()
    from mlflow.entities import Param

    marks = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
    run_id = mlflow.create_run(_experiment(mlflow), run_name=name, tags=marks).info.run_id
    entries = [Param(key, str(value)[:6000]) for key, value in params.items()]
    for start in range(0, len(entries), 100):
        mlflow.log_batch(run_id, params=entries[start : start + 100])
    return run_id


def finish_run(run_id: str, status: str = "FINISHED") -> None:
    """Mark a run as FINISHED, FAILED or KILLED."""
    client().set_terminated(run_id, status)


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

    def close(self, timeout: float = 30.0) -> None:
        """Send what is waiting, for at most `timeout` seconds."""
        self._delivery.close(timeout)


def log_evaluation(run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log the metrics of an evaluation at once, and raise what goes wrong; a training loop takes `Tracker`."""
    now = int(time.time() * 1000)
    _log_points(run_id, [(name, value, now, step) for name, value in metrics.items()])


def _log_points(run_id: str, points: Sequence[Point]) -> None:
    mlflow = client()
    from mlflow.entities import Metric

    mlflow.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value, now, step in points])


def log_artifacts(run_id: str, source: str | Path | Mapping[str, bytes], folder: str | None = None) -> None:
    """Upload a local folder, or files given as name → content, into `folder` of the run's artifacts."""
    if not isinstance(source, Mapping):
        client().log_artifacts(run_id, str(source), folder)
        return
    with tempfile.TemporaryDirectory() as local:
        for name, content in source.items():
            path = Path(local, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client().log_artifacts(run_id, local, folder)


def log_table(run_id: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with equal keys as the artifact `name` (ending in .json), which MLflow shows as a table."""
    columns = list(rows[0]) if rows else []
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    log_artifacts(run_id, {name: json.dumps(table).encode()})
    mlflow = client()
    tables = json.loads(mlflow.get_run(run_id).data.tags.get("mlflow.loggedArtifacts", "[]"))
    entry = {"path": name, "type": "table"}
    if entry not in tables:
        mlflow.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([*tables, entry]))


def resolve_model(uri: str) -> str:
    """The model folder that `models:/name@alias` or `models:/name/version` stands for; other URIs stay as they are.

    Raises:
        InputError: no such model, version or alias.
    """
    if not uri.startswith(PREFIX):
        return uri
    mlflow, wanted = client(), uri.removeprefix(PREFIX).strip("/")
    name, separator, which = wanted.partition("@" if "@" in wanted else "/")
    with answering():
        models = {model.name: model for model in mlflow.search_registered_models()}
    if name not in models:
        there = f"there are {', '.join(models)}" if models else "there are none; run `register` first"
        raise InputError(f"{uri}: no registered model {name!r} at {shown_uri()}; {there}")
    aliases = models[name].aliases
    number = str(aliases.get(which)) if separator == "@" else which
    versions = {str(v.version): v for v in mlflow.search_model_versions(f"name='{name}'")}
    if number not in versions:
        named = ", ".join(f"{name}@{alias}" for alias in aliases) or "no alias"
        raise InputError(f"{uri}: no such version; there are versions {', '.join(sorted(versions))} and {named}")
    return str(versions[number].source)


def _experiment(mlflow: MlflowClient) -> str:
    """Id of the experiment, made where it is missing."""
    with answering():
        found = mlflow.get_experiment_by_name(EXPERIMENT)
    if found is None:
        served = connection_uri().startswith("http")  # a server decides for itself where artifacts go
        place = None if served else storage.join(storage.store_root(), "mlartifacts")
        with unless_there():
            return mlflow.create_experiment(EXPERIMENT, artifact_location=place)
        found = mlflow.get_experiment_by_name(EXPERIMENT)
    assert found is not None
    return found.experiment_id


@lru_cache(maxsize=8)
def _prepare_sqlite(uri: str) -> None:
    """Make or upgrade the SQLite file at `uri`, whole or not at all, by one process at a time.

    MLflow alone breaks a fresh file for good when two processes open it together.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f"{path.name}.lock")):
        from mlflow.exceptions import MlflowException
        from mlflow.store.db import utils
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        if not path.exists():
            new = path.with_name(f".{path.name}.new")
            new.unlink(missing_ok=True)
            with _hasty_sqlite():
                made = SqlAlchemyStore(f"sqlite:///{new}", storage.join(storage.store_root(), "mlartifacts"))
                made.engine.dispose()
            with open(new, "rb") as file:
                os.fsync(file.fileno())
            os.replace(new, path)
            return
        engine = utils.create_sqlalchemy_engine_with_retry(uri)
        try:
            utils._verify_schema(engine)
        except MlflowException:
            utils._upgrade_db(engine)
        finally:
            engine.dispose()


@lru_cache(maxsize=8)
def _prepare_postgresql(uri: str) -> None:
    """Make the tables of an empty database, by one process at a time; tables that are there stay as they are.

    MLflow alone fails when two processes make them together.
    """
    import sqlalchemy
    from mlflow.store.db import utils

    logging.getLogger("alembic").setLevel(logging.ERROR)
    engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": 10})
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(7267)"))
            if utils._get_schema_version(engine) is None:
                utils._initialize_tables(engine)
            utils._verify_schema(engine)
    finally:
        engine.dispose()


@contextlib.contextmanager
def _hasty_sqlite() -> Iterator[None]:
    """Let SQLite not wait for the disk: right for a file that counts only once it is whole."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system gives back however the process ends."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def unless_there() -> Iterator[None]:
    """Let it pass that somebody else made the same thing first."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
