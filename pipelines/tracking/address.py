"""The address of MLflow, for its library and for people."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.store.layout import Store

POSTGRESQL, POSTGRESQL_DRIVER = ("postgresql", "postgres"), "postgresql+psycopg2"
"""Schemes of a PostgreSQL database, and the one that names the driver among the dependencies."""
REGISTERED = "models:/"
"""What the names of registered models begin with."""


def is_registered(model: str) -> bool:
    """Whether a model is named as the registry names it: `models:/name@alias` or `models:/name/version`."""
    return model.startswith(REGISTERED)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the SQLite file of the store. May hold a password: people are shown `shown_uri`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Store.here().mlflow_database}"


def shown_uri() -> str:
    """The tracking URI without its password, for messages, tables and logs."""
    return without_password(tracking_uri())


def is_new() -> bool:
    """Whether tracking goes into an SQLite file that does not exist yet."""
    file = tracking_uri().removeprefix("sqlite:///")
    return file != tracking_uri() and not Path(file).exists()


def is_server() -> bool:
    """Whether tracking goes to an MLflow server, not into a database."""
    return tracking_uri().partition(":")[0] in ("http", "https")


def without_password(text: str) -> str:
    """`text` with the password of every URI in it replaced by `***`."""
    text = re.sub(r"(://[^/\s:@]*):[^/\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s]+", r"\1***", text)


def connection_uri() -> str:
    """The tracking URI as MLflow gets it.

    A PostgreSQL URI names the driver that belongs to the dependencies, whichever SQLAlchemy would prefer. A server's
    user and password go into the environment, so that no error of MLflow repeats them.
    """
    uri = tracking_uri()
    scheme = uri.partition(":")[0]
    if scheme in POSTGRESQL:  # whose password may hold what a URI must not
        return f"{POSTGRESQL_DRIVER}{uri.removeprefix(scheme)}"
    if not is_server() or (parts := urlsplit(uri)).password is None:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
