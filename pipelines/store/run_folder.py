"""The folder of one training run, and of a report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from aunet.errors import InputError
from aunet.model_files import CONFIG
from aunet.names import check_name
from pipelines.store import storage
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.storage import join
from pipelines.store.stored_json import read_stored, stored_object

OVERLAYS, ATTENTION = "overlays", "attention"
"""Folders of a report's pictures."""
IN_USE = "in_use"
"""Folder of the marks of those who write, see `in_use`."""
CHECKPOINT = "checkpoint_"
"""What the names of all folders of checkpoints begin with."""
REMOVE_RUN = "restore it, or remove the run's folder and train again"


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
    return read_stored(uri, "run `evaluate` again")


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
            InputError: there is no model, or its document is damaged.
        """
        return read_stored(join(self.model_uri, CONFIG), REMOVE_RUN)

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
        """The configuration as JSON values; None: the run was never started.

        Raises:
            InputError: it is damaged.
        """
        return read_stored(self.config_uri, REMOVE_RUN) if self.is_begun() else None

    def events(self) -> list[dict[str, Any]]:
        """The history up to the newest checkpoint; empty before the first.

        Raises:
            InputError: it is damaged.
        """
        if not storage.exists(self.events_uri):
            return []
        lines = storage.read_bytes(self.events_uri).splitlines()
        return [_event(line, f"{self.events_uri}, line {number}") for number, line in enumerate(lines, 1)]

    def write_events(self, events: list[dict[str, Any]]) -> None:
        """Replace the history."""
        storage.write_bytes(self.events_uri, "".join(json.dumps(event) + "\n" for event in events).encode())

    def trained(self) -> TrainedRun | None:
        """The artifact; None: the run is not finished.

        Raises:
            InputError: it is damaged.
        """
        if not storage.exists(self.artifact_uri):
            return None
        plain = read_stored(self.artifact_uri, "delete it and train again")
        return TrainedRun.from_fields(plain, self.artifact_uri)

    def finish(self, run: TrainedRun) -> None:
        """Write the artifact: the run is finished."""
        storage.write_bytes(self.artifact_uri, json.dumps(run.to_json()).encode())

    def checkpoint_uri(self, name: str) -> str:
        """Folder of a checkpoint."""
        return join(self.uri, name)

    def checkpoints(self) -> list[str]:
        """Names of the checkpoint folders that are there, listed by Ray or not; no links."""
        return [name for name in storage.list_folders(self.uri, follow_links=False) if name.startswith(CHECKPOINT)]

    def listed_checkpoints(self) -> dict[str, int]:
        """Name → step of the checkpoints from which the run resumes, the newest last.

        Raises:
            InputError: Ray's list of them is damaged, or names a folder that is not a checkpoint of this run: Ray
                would read it, or delete it.
        """
        if not storage.exists(self.snapshot_uri):
            return {}
        plain = read_stored(self.snapshot_uri, REMOVE_RUN)
        try:
            results = [*plain["checkpoint_results"], plain["latest_checkpoint_result"]]
            pending = [result["checkpoint_dir_name"] for result in plain.get("pending_training_results", [])]
            marked = [name for key in plain if key.endswith("_checkpoint_dir_names") for name in plain[key]]
            steps = {result["checkpoint_dir_name"]: _step(result["metrics"]["step"]) for result in results if result}
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.snapshot_uri}: damaged ({error!r:.120}); {REMOVE_RUN}") from None
        try:
            for name in (*steps, *pending, *marked):
                if not check_name(f"{self.snapshot_uri}: checkpoint", name).startswith(CHECKPOINT):
                    raise InputError(f"{self.snapshot_uri}: {name} is not the name of a checkpoint")
        except InputError as error:
            raise InputError(f"{problem}; {REMOVE_RUN}" for problem in error.problems) from None
        return steps

    @property
    def in_use_uri(self) -> str:
        """Folder of the marks of those who write the run."""
        return join(self.uri, IN_USE)


def _event(line: bytes, source_name: str) -> dict[str, Any]:
    event = stored_object(line, source_name, REMOVE_RUN)
    if not isinstance(event.get("kind"), str) or type(event.get("step")) is not int:
        raise InputError(f"{source_name}: not an event, which has a kind and a step; {REMOVE_RUN}")
    return event


def _step(number: object) -> int:
    if type(number) is not int:
        raise TypeError(f"step {number!r:.80} is not a whole number")
    return number
