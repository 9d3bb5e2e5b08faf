"""The address of MLflow, for its library and for people."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from aunet.errors import InputError
from pipelines.store.addresses import location_of, shown, user_info, without_user
from pipelines.store.layout import Store

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT = "aunet"
"""All our runs are in it."""
POSTGRESQL, POSTGRESQL_DRIVER = ("postgresql", "postgres"), "postgresql+psycopg2"
"""Schemes of a PostgreSQL database, and the one that names the driver among the dependencies."""
DRIVERS = {
    **dict.fromkeys((*POSTGRESQL, POSTGRESQL_DRIVER), "psycopg2"),
    **dict.fromkeys(("mysql", "mysql+mysqldb"), "MySQLdb"),
    "mysql+pymysql": "pymysql",
    **dict.fromkeys(("mssql", "mssql+pyodbc"), "pyodbc"),
}
"""Schemes of the databases that MLflow can use, and the package that talks to each."""
HTTP = ("http", "https")
SQLITE = "sqlite:///"
SQLITE_HEADER = b"SQLite format 3\0"
CURE = "use a server (http, https), postgresql with HOST:PORT/DATABASE, or sqlite with three slashes and a file"
REGISTERED = "models:/"
"""What the names of registered models begin with."""


def is_registered(model: str) -> bool:
    """Whether a model is named as the registry names it: `models:/name@alias` or `models:/name/version`."""
    return model.startswith(REGISTERED)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the SQLite file of the store. May hold a password: people are shown `shown_uri`."""
    return os.environ.get(VARIABLE) or sqlite_uri(Store.here().mlflow_database)


def shown_uri() -> str:
    """The tracking URI without user and password, for messages, tables and logs."""
    return shown(tracking_uri())


def sqlite_uri(path: str | Path) -> str:
    """The URI of an SQLite file, as SQLAlchemy reads it."""
    return f"{SQLITE}{str(path).replace('%', '%25').replace('?', '%3F')}"


def sqlite_file() -> Path | None:
    """The SQLite file into which tracking goes; None: it goes to a server or another database."""
    uri = tracking_uri()
    return Path(unquote(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None


def is_new() -> bool:
    """Whether tracking goes into an SQLite file that does not exist yet."""
    file = sqlite_file()
    return file is not None and not file.exists()


def is_server() -> bool:
    """Whether tracking goes to an MLflow server, not into a database."""
    return tracking_uri().partition(":")[0] in HTTP


def check_tracking() -> None:
    """Refuse a tracking URI that cannot be used, before any work is done. No server is asked.

    Raises:
        InputError: no library understands it, its driver is not installed, or its file is not a database.
    """
    if problem := _problem(tracking_uri()):
        raise InputError(f"{VARIABLE} = {shown_uri()!r}: {problem}")


def connection_uri() -> str:
    """The tracking URI as MLflow gets it.

    A PostgreSQL URI names the driver that belongs to the dependencies, whichever SQLAlchemy would prefer. A server's
    user and password go into the environment, so that no error of MLflow repeats them.

    Raises:
        InputError: as `check_tracking`.
    """
    check_tracking()
    uri = tracking_uri()
    scheme = uri.partition(":")[0]
    if scheme in POSTGRESQL:
        return f"{POSTGRESQL_DRIVER}{uri.removeprefix(scheme)}"
    user, separator, password = (user_info(uri) or "").partition(":")
    if not is_server() or not separator:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
    return without_user(uri)


def _problem(uri: str) -> str | None:
    """Why nothing can be tracked at a URI, with the cure; None: it may work."""
    scheme = uri.partition(":")[0]
    if uri.startswith(SQLITE):
        return _file_problem(uri)
    if scheme in HTTP or scheme in DRIVERS:
        return _server_problem(uri, scheme)
    return f"no server or database that is supported here; {CURE}, or unset it"


def _server_problem(uri: str, scheme: str) -> str | None:
    try:
        host, _, path = location_of(uri)
    except ValueError as error:
        return str(error)
    if scheme in HTTP:
        return None if host else f"names no host; {CURE}"
    if "@" in (user_info(uri) or ""):
        return "its password holds @; write it as %40"
    if find_spec(driver := DRIVERS[scheme]) is None:
        return f"the driver {driver} is not installed; install it, or {CURE}"
    return None if path.strip("/") else f"names no database; {CURE}"


def _file_problem(uri: str) -> str | None:
    path, cure = Path(unquote(uri.removeprefix(SQLITE))), "name the file of an SQLite database, or a new one"
    if not path.name or "?" in uri:
        return f"names {'no file' if not path.name else 'more than a file'}; {cure}"
    if not path.exists():
        above = next(folder for folder in path.absolute().parents if folder.exists())
        return None if above.is_dir() else f"{above} is a file, not a folder; {cure}"
    if not path.is_file():
        return f"is {'a folder' if path.is_dir() else 'not an ordinary file'}; {cure}"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"may not be read and written; give the right to, or {cure}"
    with path.open("rb") as file:
        start = file.read(len(SQLITE_HEADER))
    return None if start in (b"", SQLITE_HEADER) else f"is not an SQLite database; {cure}"
