"""Where MLflow is, which addresses it cannot have, and what nobody is shown of them."""

import os
import stat
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.tracking.address import (
    check_tracking,
    connection_uri,
    is_new,
    shown_uri,
    sqlite_file,
    sqlite_uri,
    tracking_uri,
)
from tests.canaries import URIS, leaks


def test_default_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/store/mlflow.db"
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/prefix")
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri() == shown_uri() == connection_uri() == "http://server:5000"


def test_a_store_with_percent_signs_has_its_database_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SQLAlchemy reads `%20` in a URI as a space."""
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "a%20b?"))
    assert sqlite_file() == tmp_path / "a%20b?/mlflow.db" and is_new()
    assert sqlite_uri("/a%20b?") == "sqlite:////a%2520b%3F"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://***@host:5432/db"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?***"),
        ("https://host/mlflow", "https://host/mlflow"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
    ],
)
def test_no_password_is_shown(uri: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert shown_uri() == shown


@pytest.mark.parametrize("password", ["s%2Fcret", "s/cret"])
def test_a_servers_password_is_kept_out_of_its_errors(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{password}@host:5000/mlflow")
    assert connection_uri() == "https://host:5000/mlflow"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("me", "s/cret")


@pytest.mark.parametrize("password", ["secret", "[secret", "se/cret"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_gets_its_driver(scheme: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:{password}@host/db")
    assert connection_uri() == f"postgresql+psycopg2://me:{password}@host/db"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("mysql://host/db", "the driver MySQLdb is not installed"),
        ("mssql+pyodbc://host/db", "the driver pyodbc is not installed"),
        ("postgresql+foo://host/db", "no server or database that is supported here"),
        ("s3://", "no server or database that is supported here"),
        ("ftp://host/x", "no server or database that is supported here"),
        ("databricks", "no server or database that is supported here"),
        ("hello", "no server or database that is supported here"),
        ("/data/mlruns", "no server or database that is supported here"),
        ("file:///data/mlruns", "no server or database that is supported here"),
        ("sqlite://", "no server or database that is supported here"),
        ("sqlite+foo:///x.db", "no server or database that is supported here"),
        ("sqlite:///", "names no file"),
        ("sqlite:///x.db?mode=ro", "names more than a file"),
        ("http://", "names no host"),
        ("http:/host", "names no host"),
        ("https:///x", "names no host"),
        ("http://host:abc/", "its host or port is not one"),
        ("http://host:99999/", "its host or port is not one"),
        ("http://[::1", "its host or port is not one"),
        ("http://ho st/", "its host or port is not one"),
        ("http://host/%zz", "write % as %25"),
        ("postgresql://me:a%zz@host/db", "write % as %25"),
        ("postgresql://me:a@b@host/db", "its password holds @"),
        ("postgresql://", "names no database"),
        ("postgresql://host", "names no database"),
        ("postgresql://host:99999/db", "its host or port is not one"),
    ],
)
def test_an_address_that_mlflow_cannot_have_is_one_line(uri: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match=rf"^MLFLOW_TRACKING_URI = .*{why}.*") as refused:
        check_tracking()
    assert "\n" not in str(refused.value) and any(word in str(refused.value) for word in ("use", "name", "write"))


@pytest.mark.parametrize("shape", URIS)
def test_a_refused_address_shows_no_credentials(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URIS[shape])
    message = ""
    try:
        check_tracking()
    except InputError as refused:
        message = str(refused)
    assert leaks(message + shown_uri()) == []


@pytest.mark.parametrize("kind", ["folder", "text", "fifo", "below a file"])
def test_a_file_that_is_not_a_database(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    expected = {
        "folder": "is a folder",
        "text": "not an SQLite",
        "fifo": "not an ordinary",
        "below a file": "is a file",
    }
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
        assert stat.S_ISFIFO(path.stat().st_mode)
    else:
        path.write_text("this is not the header of a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(path / "x.db" if kind == "below a file" else path))
    with pytest.raises(InputError, match=rf"MLFLOW_TRACKING_URI = .*{expected[kind]}.*name the file"):
        connection_uri()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_database_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch(mode=0o400)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(path))
    with pytest.raises(InputError, match="may not be read and written"):
        check_tracking()


def test_an_empty_or_missing_file_is_a_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(tmp_path / "new/mlflow.db"))
    check_tracking()
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(tmp_path / "empty.db"))
    check_tracking()
