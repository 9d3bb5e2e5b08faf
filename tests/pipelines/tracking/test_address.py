"""Where MLflow is, and what nobody is shown of it."""

import os
from pathlib import Path

import pytest

from pipelines.tracking.address import connection_uri, shown_uri, tracking_uri, without_password


def test_default_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/store/mlflow.db"
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/prefix")
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri() == shown_uri() == connection_uri() == "http://server:5000"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg2://me:se@cret@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("at https://:secret@host/ and http://a:secret@b/", "at https://:***@host/ and http://a:***@b/"),
        ("https://host:5000/mlflow@team", "https://host:5000/mlflow@team"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
    ],
)
def test_no_password_is_shown(uri: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_password(uri) == shown
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert shown_uri() == shown


def test_a_servers_password_is_kept_out_of_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s%2Fcret@host:5000/mlflow")
    assert connection_uri() == "https://host:5000/mlflow"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("me", "s/cret")


@pytest.mark.parametrize("password", ["secret", "[secret"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_gets_its_driver(scheme: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:{password}@host/db")
    assert connection_uri() == f"postgresql+psycopg2://me:{password}@host/db"
