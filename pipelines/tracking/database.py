"""The connection to MLflow: a client, with the tables of its database created where they are missing.

Without MLFLOW_TRACKING_URI everything goes into one SQLite file in the store (in the working directory when the store
is on S3), artifacts into `mlartifacts` in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from aunet.errors import InputError, Unavailable
from pipelines.store import storage
from pipelines.store.addresses import masked
from pipelines.store.layout import Store
from pipelines.tracking.address import VARIABLE, connection_uri, shown_uri, sqlite_file, sqlite_uri

PAGE = 100
"""Entries of one answer of MLflow to a search."""
REQUEST = 1000
"""Figures that MLflow accepts in one request."""
CONFLICT_WAITS = (0.05, 0.2, 0.5)
"""Seconds before what MLflow could not write is written again."""
_PREPARING = threading.Lock()
"""Held while tables are created: what alembic works on is in variables of the process, which two threads mix up."""


def client() -> MlflowClient:
    """A client of the tracking server; where that is a database, its tables are created first.

    Raises:
        InputError: the tracking URI cannot be one, or its file is not a database.
        Unavailable: there is no such server or database, or its tables belong to another version of MLflow.
    """
    uri = connection_uri()
    with answering():
        with _PREPARING:
            if (file := sqlite_file()) is not None:
                _prepare_sqlite(file.absolute())
            if uri.startswith("postgresql"):
                _prepare_postgresql(uri)
        return MlflowClient(tracking_uri=uri)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turn MLflow's errors into one line, without a password.

    Raises:
        InputError: a run or a version that is asked for does not exist there.
        Unavailable: anything else.
    """
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        reason = masked(" ".join(str(getattr(error, "orig", error)).split()))[:300]
        message = f"MLFLOW_TRACKING_URI = {shown_uri()!r}: {reason}"
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            raise InputError(f"{message}; name the server that it was tracked on") from None
        raise Unavailable(f"{message}; start the server, or correct or unset MLFLOW_TRACKING_URI") from None


@contextlib.contextmanager
def unless_exists() -> Iterator[None]:
    """Ignore that another process created the same thing first."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def insisting(write: Callable[[], object]) -> None:
    """Write what others may write at the same moment: of two who insert one row, MLflow fails for the slower."""
    for wait in CONFLICT_WAITS:
        try:
            write()
            return
        except MlflowException as error:
            if error.error_code not in ("BAD_REQUEST", "TEMPORARILY_UNAVAILABLE"):
                raise
            time.sleep(wait)
    write()


def pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Every entry of a search, whose answers come in pages."""
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token)
        yield from page
        if not (token := page.token):
            return


@lru_cache(maxsize=8)
def _prepare_sqlite(path: Path) -> None:
    """Create or upgrade an SQLite file, as a whole or not at all, by one process at a time.

    MLflow alone breaks a fresh file for good when two processes open it together.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            if storage.is_remote(Store.here().uri) and not os.environ.get(VARIABLE):
                where = f"figures and versions go to {path}, which a cluster loses with this machine"
                print(f"MLflow · {VARIABLE} is not set: {where}; name a server", file=sys.stderr)
            with _scratch(path) as new:
                with _hasty_sqlite():
                    SqlAlchemyStore(sqlite_uri(new), Store.here().mlflow_artifacts_uri).engine.dispose()
                with open(new, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(new, path)
            return
        engine = utils.create_sqlalchemy_engine_with_retry(sqlite_uri(path))
        try:
            utils._verify_schema(engine)
        except MlflowException:
            utils._upgrade_db(engine)
        finally:
            engine.dispose()


@lru_cache(maxsize=8)
def _prepare_postgresql(uri: str) -> None:
    """Create the tables of an empty database, by one process at a time; existing tables are left unchanged.

    MLflow alone fails when two processes create them together.
    """
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
def _scratch(path: Path) -> Iterator[Path]:
    """A file to become `path`, in a folder that is removed afterwards: SQLite leaves journals beside what it began."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        yield Path(folder) / path.name


@contextlib.contextmanager
def _hasty_sqlite() -> Iterator[None]:
    """Let SQLite not wait for the disk: right for a file that counts only once it is complete."""

    def hurry(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases however the process ends."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
