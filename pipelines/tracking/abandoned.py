"""MLflow runs of trainings whose driver was killed: they say RUNNING until somebody closes them.

Nothing here imports MLflow before there is something to ask it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from aunet.errors import InputError, Unavailable
from pipelines.store import storage
from pipelines.store.in_use import writers
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.address import is_new, shown_uri


def running_ids() -> set[str] | None:
    """Ids of the runs that MLflow shows as RUNNING; None: our experiment does not exist yet.

    Raises:
        Unavailable: MLflow does not answer.
    """
    return _runs().running_runs()


def abandoned(folders: Iterable[RunFolder]) -> dict[str, str]:
    """Ids of the MLflow runs that say RUNNING though nobody drives their training, and the URIs of its folders.

    MLflow is asked only where there is a training that was begun, did not end, and nobody drives.

    Raises:
        InputError: a mark of who drives a run is damaged.
        Unavailable: MLflow does not answer.
    """
    undriven = {_id(folder): folder for folder in folders if _is_begun(folder) and not writers(folder.in_use_uri)}
    if not undriven or is_new():
        return {}
    running = running_ids() or set()
    # Asked again, for a driver may have come in the meantime.
    return {
        run_id: folder.uri
        for run_id, folder in undriven.items()
        if run_id in running and _is_begun(folder) and not writers(folder.in_use_uri)
    }


def close_abandoned(folders: Iterable[RunFolder], *, dry_run: bool) -> tuple[str, ...]:
    """Mark these runs as KILLED, or only list them, on stderr; returns their ids.

    That MLflow does not answer is a line on stderr.
    """
    closed: list[str] = []
    try:
        for run_id, uri in abandoned(folders).items():
            print(f"{'would mark' if dry_run else 'marking'} MLflow run {run_id} of {uri} as KILLED", file=sys.stderr)
            if not dry_run:
                _runs().close_run(run_id, "KILLED")
            closed.append(run_id)
    except (InputError, Unavailable) as error:
        print(f"MLflow runs that nobody drives were not all closed at {shown_uri()}: {error}", file=sys.stderr)
    return tuple(closed)


def _is_begun(folder: RunFolder) -> bool:
    """Whether a training has a run in MLflow and did not end."""
    return storage.exists(folder.mlflow_id_uri) and not storage.exists(folder.artifact_uri)


def _id(folder: RunFolder) -> str:
    return folder.mlflow_id() or ""


def _runs():  # noqa: ANN202 - the module, which takes seconds to import
    from pipelines.tracking import runs

    return runs
