"""The database that MLflow gets where nobody names a server."""

from pathlib import Path

import pytest

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
