"""The main job with its MLflow records in PostgreSQL: a fresh database, several processes at once, a password."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from tests.commands import ROOT, TINY_RUN, jobs

START = """
import sys
from pipelines.tracking import runs as tracking
run = tracking.start_run(f"process {sys.argv[1]}", {"train.lr": 0.1})
tracking.log_evaluation(run, {"PQ": float(sys.argv[1])})
tracking.finish_run(run)
print(run)
"""


def binary(name: str) -> str:
    """A program of PostgreSQL's server; the test skips where there is none."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = shutil.which(name) or (str(beside[-1]) if beside else None)
    if program is None:
        pytest.skip(f"needs a PostgreSQL server, and there is no {name}")
    return program


@pytest.fixture
def postgresql() -> Iterator[str]:
    """URI of an empty database with a password, in a server of its own."""
    initdb, server = binary("initdb"), binary("postgres")
    password = f"canary-{secrets.token_hex(8)}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    (folder / "password").write_text(password)
    someone: dict[str, Any] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to be root
        someone = {"user": "nobody", "group": "nogroup", "extra_groups": [], "cwd": folder}
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody", "nogroup")
    setup = [initdb, "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256", "--pwfile", folder / "password"]
    subprocess.run([*setup, "--no-sync"], check=True, capture_output=True, **someone)
    (folder / "password").unlink()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [server, "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            stdout=log, stderr=log, **someone,
        )  # fmt: skip
    try:
        ready = [binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
        yield f"postgresql://mlflow:{password}@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # does not wait for those who are still connected
        process.wait()
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_six_processes_and_the_main_job(postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = postgresql.split(":")[2].split("@")[0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": postgresql}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", START, str(n)], cwd=tmp_path, env=environment, **pipes)
        for n in range(6)
    ]
    answers = [process.communicate(timeout=500) for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, answers
    assert [err for _, err in answers] == [""] * 6, "MLflow is not quiet"

    store = tmp_path / "store"
    result, printed = jobs(store, "run", "shapes_smoke", *TINY_RUN, more={"MLFLOW_TRACKING_URI": postgresql})
    assert postgresql.replace(password, "***") in printed
    predicted, more = jobs(
        store, "predict", "--model", f"models:/{result['model']['name']}@champion", "--out", str(tmp_path / "out"),
        "--images", str(next((store / "raw").glob("shapes-*")) / "val"), more={"MLFLOW_TRACKING_URI": postgresql},
    )  # fmt: skip
    assert predicted["images"] == 4

    from pipelines.tracking import runs as tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql)
    client = tracking.client()
    runs = [client.get_run(out.strip()) for out, _ in answers]
    assert sorted(run.data.metrics["PQ"] for run in runs) == [0, 1, 2, 3, 4, 5]
    main = client.get_run(result["run"]["mlflow_run_id"])
    assert (main.info.status, main.data.metrics["PQ"]) == ("FINISHED", pytest.approx(result["PQ"]))
    assert [point.step for point in client.get_metric_history(main.info.run_id, "loss")] == [10, 20, 24]
    assert {a.path for a in client.list_artifacts(main.info.run_id)} >= {"overlays", "per_class.json", "report.html"}

    files = [path for path in store.rglob("*") if path.is_file()]
    assert len(files) > 30 and not list(store.glob("mlflow.db*"))
    assert [path for path in files if password.encode() in path.read_bytes()] == []
    assert password not in printed + more


@pytest.mark.slow
def test_a_wrong_password_and_other_tables_are_named(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg2

    from pipelines.tracking import runs as tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql.replace("canary", "wrong"))
    with pytest.raises(InputError, match=r":\*\*\*@.*password authentication failed.*correct or unset") as caught:
        tracking.client()
    assert "wrong" not in str(caught.value)
    with psycopg2.connect(postgresql) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('x')"
        )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql)
    with pytest.raises(InputError, match="mlflow db upgrade"):
        tracking.client()
