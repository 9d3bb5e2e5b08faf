"""The folder of one training run, and of a report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.storage import join

OVERLAYS, ATTENTION = "overlays", "attention"
"""Folders of a report's pictures."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the store."""

    uri: str

    @property
    def name(self) -> str:
        """The last part of its URI."""
        return self.uri.rstrip("/").rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is anything in it."""
        return storage.exists(self.uri)


class ReportFolder(Folder):
    """A report: its document, its page and its pictures."""

    @property
    def document_uri(self) -> str:
        """Written last."""
        return join(self.uri, "report.json")

    @property
    def html_uri(self) -> str:
        """The page."""
        return join(self.uri, "report.html")

    @property
    def overlays_uri(self) -> str:
        """Folder of the overlays."""
        return join(self.uri, OVERLAYS)

    def report(self) -> Report | None:
        """The artifact; None: there is no report, or it is damaged."""
        try:
            return self.existing_report()
        except InputError:
            return None

    def existing_report(self) -> Report:
        """The artifact.

        Raises:
            InputError: there is no report, or it is damaged.
        """
        plain = read_report(self.document_uri).get("report")
        if not isinstance(plain, dict):
            raise InputError(f"{self.document_uri}: lacks report; run `evaluate` again")
        return Report.from_fields(plain, self.document_uri)

    def write(self, report: Report, document: dict[str, Any]) -> None:
        """Commit a report."""
        content = json.dumps({**document, "report": asdict(report)}, indent=1)
        storage.write_bytes(self.document_uri, content.encode())


def read_report(uri: str) -> dict[str, Any]:
    """All that a report at `uri` says.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not storage.exists(uri):
        raise InputError(f"{uri}: no report; run `evaluate` on this run first, or name another with --run")
    try:
        document = json.loads(storage.read_bytes(uri))
        if not isinstance(document, dict):
            raise TypeError(f"a {type(document).__name__}")
        return document
    except (ValueError, TypeError) as error:
        raise InputError(f"{uri}: not a report ({error}); run `evaluate` again") from None


class RunFolder(Folder):
    """One training run."""

    @property
    def artifact_uri(self) -> str:
        """Written when the run is finished; its presence makes training a no-op."""
        return join(self.uri, "run.json")

    @property
    def config_uri(self) -> str:
        """The resolved configuration, written when the run begins."""
        return join(self.uri, "config.json")

    @property
    def events_uri(self) -> str:
        """The history, one event per line."""
        return join(self.uri, "events.jsonl")

    @property
    def mlflow_id_uri(self) -> str:
        """Id of the run in MLflow."""
        return join(self.uri, "mlflow_run_id")

    @property
    def model_uri(self) -> str:
        """Folder of the model, written when the run is finished."""
        return join(self.uri, "model")

    def model_settings(self) -> dict[str, Any]:
        """What the model was built and released with, as JSON values.

        Raises:
            InputError: there is no model.
        """
        return json.loads(storage.read_bytes(join(self.model_uri, "config.json")))

    @property
    def snapshot_uri(self) -> str:
        """Ray's list of the run's checkpoints, by which it resumes."""
        return join(self.uri, "checkpoint_manager_snapshot.json")

    def not_finite_uri(self, rank: int) -> str:
        """The step at which a rank met a loss that is not finite."""
        return join(self.uri, f"not_finite-{rank}.json")

    def report(self, validation: str | None = None) -> ReportFolder:
        """The run's report; given the fingerprint of another validation split, the report on that."""
        return ReportFolder(join(self.uri, "reports", validation) if validation else self.uri)

    def is_begun(self) -> bool:
        """Whether somebody has started the run."""
        return storage.exists(self.config_uri)

    def write_config(self, config: dict[str, Any]) -> None:
        """Keep the resolved configuration, given as JSON values."""
        storage.write_bytes(self.config_uri, json.dumps(config, indent=1).encode())

    def config(self) -> dict[str, Any] | None:
        """The configuration as JSON values; None: the run was never started."""
        return json.loads(storage.read_bytes(self.config_uri)) if self.is_begun() else None

    def events(self) -> list[dict[str, Any]]:
        """The history up to the newest checkpoint; empty before the first."""
        if not storage.exists(self.events_uri):
            return []
        return [json.loads(line) for line in storage.read_bytes(self.events_uri).decode().splitlines()]

    def write_events(self, events: list[dict[str, Any]]) -> None:
        """Replace the history."""
        storage.write_bytes(self.events_uri, "".join(json.dumps(event) + "\n" for event in events).encode())

    def trained(self) -> TrainedRun | None:
        """The artifact; None: the run is not finished."""
        if not storage.exists(self.artifact_uri):
            return None
        return TrainedRun.from_fields(json.loads(storage.read_bytes(self.artifact_uri)), self.artifact_uri)

    def finish(self, run: TrainedRun) -> None:
        """Write the artifact: the run is finished."""
        storage.write_bytes(self.artifact_uri, json.dumps(run.to_json()).encode())

    def checkpoint_uri(self, name: str) -> str:
        """Folder of a checkpoint."""
        return join(self.uri, name)

    def checkpoints(self) -> list[str]:
        """Names of the checkpoint folders that are there, listed by Ray or not."""
        return [name for name in storage.list_folders(self.uri) if name.startswith("checkpoint_")]

    def listed_checkpoints(self) -> dict[str, int]:
        """Name → step of the checkpoints from which the run resumes, the newest last.

        Raises:
            InputError: Ray's list of them is damaged.
        """
        if not storage.exists(self.snapshot_uri):
            return {}
        try:
            plain = json.loads(storage.read_bytes(self.snapshot_uri))
            results = [*plain["checkpoint_results"], plain["latest_checkpoint_result"]]
            return {result["checkpoint_dir_name"]: int(result["metrics"]["step"]) for result in results if result}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.snapshot_uri}: damaged ({error!r}); restore it, or remove its run") from None
