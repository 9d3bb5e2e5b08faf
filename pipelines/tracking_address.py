"""Where MLflow is, as its library and as people are told."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines import storage

POSTGRESQL = ("postgresql://", "postgres://")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the SQLite file of the store. May hold a password: people are shown `shown_uri`."""
    root = storage.store_root()
    folder = Path.cwd() if "://" in root else Path(root)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"


def shown_uri() -> str:
    """The tracking URI without its password, for messages, tables and logs."""
    return without_password(tracking_uri())


def is_new() -> bool:
    """Whether tracking goes into an SQLite file that nobody has made yet."""
    file = tracking_uri().removeprefix("sqlite:///")
    return file != tracking_uri() and not Path(file).exists()


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
    if uri.startswith(POSTGRESQL):
        return f"postgresql+psycopg2://{uri.partition('://')[2]}"
    parts = urlsplit(uri)
    if not parts.scheme.startswith("http") or parts.password is None:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
