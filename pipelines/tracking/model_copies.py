"""Model folders among the artifacts of their runs: copied to MLflow's server, and from it to this machine."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

from aunet.errors import InputError
from aunet.model_files import HASHES
from pipelines.store import storage
from pipelines.store.hashes import check_listing, digest
from pipelines.tracking.database import client


def upload(model_uri: str, run_id: str, sha256: str) -> str:
    """Copy a model folder to the server, the list of hashes last; returns where it is there."""
    mlflow, path = client(), _artifact_path(sha256)
    artifacts_uri = mlflow.get_run(run_id).info.artifact_uri
    if not any(file.path.endswith(f"/{HASHES}") for file in mlflow.list_artifacts(run_id, path)):
        for name in (*check_listing(model_uri), HASHES):
            mlflow.log_artifact(run_id, storage.join(model_uri, name), path)
    return f"{artifacts_uri}/{path}"


def fetched(run_id: str, sha256: str) -> str:
    """This process's copy of an uploaded model, which is fetched again where it is not what was uploaded.

    The content that comes is not compared: whoever loads it does.
    """
    copy = Path(_copies(), _artifact_path(sha256))
    if copy.is_dir():
        with contextlib.suppress(InputError):
            if digest(str(copy)) == sha256:
                return str(copy)
        shutil.rmtree(copy)
    return client().download_artifacts(run_id, copy.name, str(copy.parent))


def _artifact_path(sha256: str) -> str:
    """Where an uploaded model is among the artifacts of its run, which may have had another model before."""
    return f"model-{sha256[:16]}"


@cache
def _copies() -> str:
    """Folder of this process, with one copy of every model that it has fetched."""
    folder = tempfile.mkdtemp(prefix="aunet-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
