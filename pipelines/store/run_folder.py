"""The folder of one training run, and of a report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from aunet.errors import InputError
from aunet.model_files import CONFIG
from pipelines.store import storage
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.checkpoints import Checkpoints
from pipelines.store.history import History
from pipelines.store.parts import PARTS, Parts
from pipelines.store.storage import join
from pipelines.store.stored_folder import Folder
from pipelines.store.stored_json import read_stored

OVERLAYS, ATTENTION = "overlays", "attention"
"""Folders of a report's pictures."""
REPORTS = "reports"
"""Folder of the reports on other validation splits than the run's own, by their fingerprints."""
IN_USE = "in_use"
"""Folder of the marks of those who write, see `in_use`."""
REMOVE_RUN = "restore it, or remove the run's folder and train again"


class ReportFolder(Folder):
    """A report: its document, its page, its pictures, and what happened to every segment."""

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

    @property
    def attention_uri(self) -> str:
        """Folder of the maps of attention."""
        return join(self.uri, ATTENTION)

    @property
    def outcomes_uri(self) -> str:
        """What happened to every segment, see `measuring.outcome_table`."""
        return join(self.uri, "outcomes.parquet")

    def parts(self, key: str) -> Parts:
        """What an evaluation has measured so far."""
        return Parts(join(self.uri, PARTS, key))

    def left_parts(self) -> list[Parts]:
        """Parts of evaluations that go on, or were given up; no links."""
        uri = join(self.uri, PARTS)
        names = storage.list_folders(uri, follow_links=False) if storage.exists(uri) else []
        return [self.parts(name) for name in names]

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

    def split_fingerprint(self) -> str:
        """The validation split that it is on.

        Raises:
            InputError: there is no report, or it is damaged.
        """
        name = read_report(self.document_uri).get("val_fingerprint")
        if not isinstance(name, str):
            raise InputError(f"{self.document_uri}: lacks val_fingerprint; run `evaluate` again")
        return name


def read_report(uri: str) -> dict[str, Any]:
    """All that a report at `uri` says.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not storage.exists(uri):
        raise InputError(f"{uri}: no report; run `evaluate` on this run first")
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
    def history(self) -> History:
        """What happened in the run."""
        return History(self.uri)

    @property
    def checkpoints(self) -> Checkpoints:
        """The states from which it resumes."""
        return Checkpoints(join(self.uri, "checkpoints"))

    def trace_uri(self, step: int) -> str:
        """Trace of torch.profiler that begins at a step."""
        return join(self.uri, "profile", f"from-step-{step}.json.gz")

    @property
    def mlflow_id_uri(self) -> str:
        """Id of the run in MLflow."""
        return join(self.uri, "mlflow_run_id")

    def mlflow_id(self) -> str | None:
        """Id of the run in MLflow; None: it has none yet."""
        if not storage.exists(self.mlflow_id_uri):
            return None
        return storage.read_bytes(self.mlflow_id_uri).decode(errors="replace")

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

    def not_finite_uri(self, rank: int) -> str:
        """The step at which a rank met a loss that is not finite."""
        return join(self.uri, f"not_finite-{rank}.json")

    def report(self, validation: str | None = None) -> ReportFolder:
        """The run's report; given the fingerprint of another validation split, the report on that."""
        return ReportFolder(join(self.uri, REPORTS, validation) if validation else self.uri)

    def reports(self) -> list[ReportFolder]:
        """All reports, finished or not: the run's own first, then those on other validation splits; no links."""
        uri = join(self.uri, REPORTS)
        names = storage.list_folders(uri, follow_links=False) if storage.exists(uri) else []
        return [self.report(), *(self.report(name) for name in names)]

    def main_report(self) -> ReportFolder:
        """The report on the run's own validation split; where there is none, the last one on another."""
        own, uri = self.report(), join(self.uri, REPORTS)
        if storage.exists(own.document_uri) or not storage.exists(uri):
            return own
        names = {file.path: file.modified for file in storage.list_files(uri) if file.path.count("/") == 1}
        complete = [path for path in names if path.endswith("/report.json")]
        newest = max(complete, key=lambda path: (names[path], path), default=None)
        return self.report(newest.partition("/")[0]) if newest else own

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

    def trained(self) -> TrainedRun | None:
        """The artifact; None: the run is not finished.

        Raises:
            InputError: it is damaged.
        """
        if not storage.exists(self.artifact_uri):
            return None
        plain = read_stored(self.artifact_uri, "delete it and train again")
        run = TrainedRun.from_fields(plain, self.artifact_uri)
        # It has another id since where the first was deleted in MLflow.
        return replace(run, mlflow_run_id=self.mlflow_id() or run.mlflow_run_id)

    def finish(self, run: TrainedRun) -> None:
        """Write the artifact: the run is finished."""
        storage.write_bytes(self.artifact_uri, json.dumps(run.to_json()).encode())

    @property
    def in_use_uri(self) -> str:
        """Folder of the lease of the one driver of the run; `gc` leaves alone what somebody holds."""
        return join(self.uri, IN_USE)
