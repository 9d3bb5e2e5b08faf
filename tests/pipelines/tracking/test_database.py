"""The database that MLflow gets where nobody names a server."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.tracking import database
from pipelines.tracking.database import client


@pytest.mark.parametrize("variable", [None, ""])
@pytest.mark.parametrize("store", ["s3://bucket/prefix", "store"])
def test_a_database_that_a_cluster_would_lose_is_pointed_out_once(
    store: str,
    variable: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUNET_STORE", store)
    if variable is not None:  # pods get it empty where nobody names a server
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    client()
    assert ("MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err) == store.startswith("s3://")
    client()
    assert capsys.readouterr().err == ""


def test_threads_create_tables_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic keeps what it works on in variables of the process: two that migrate together end in a KeyError."""
    at_once, most = 0, 0

    def prepare(path: Path) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1

    monkeypatch.setattr(database, "_prepare_sqlite", prepare)
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(client) for _ in range(4)]:
            future.result()
    assert most == 1
