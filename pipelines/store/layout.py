"""Where everything is in the store: one class per kind of folder; nobody else knows the names in it.

Runs and their reports have a file of their own, `run_folder`.

```
raw/<name>/                  generated scenes                 RawFolder
prepared/<fingerprint>/      manifest, indexes of the splits  PreparedFolder
prepared/shards, receipts    shared by all prepared data      PreparedPool
runs/<run id>/               one training run                 RunFolder
  reports/<validation>/      a report on other data           ReportFolder (the run's own: in its folder)
tuned/<study id>/            one search for λ1–λ4             StudyFolder
retrain/<preset>/            frozen set, ticks, lease         RetrainFolder
jobs/<id>/                   a job of this machine            JobFolder
pipelines/<preset>.json      how a Kubeflow pipeline ended
mlflow.db, mlartifacts/      MLflow without a server
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.store import storage
from pipelines.store.run_folder import Folder, RunFolder
from pipelines.store.storage import join

HASHES = "sha256.json"
"""In folders of models and checkpoints: file name → SHA-256."""
MANIFEST = "manifest.json"
"""In folders of prepared data."""


class RawFolder(Folder):
    """Generated scenes in COCO panoptic format."""

    @property
    def complete_uri(self) -> str:
        """Written last."""
        return join(self.uri, "complete")


class PreparedFolder(Folder):
    """Prepared data: a manifest and the indexes of its splits. Shards and receipts are beside all such folders."""

    @property
    def manifest_uri(self) -> str:
        """The one file by which the shards are found, written last."""
        return join(self.uri, MANIFEST)

    def index_uri(self, name: str) -> str:
        """Index of a split, under the name that the manifest gives."""
        return join(self.uri, name)

    def shard_uri(self, name: str) -> str:
        """A shard, under the name that the manifest gives."""
        return join(self.pool.shards_uri, name)

    @property
    def pool(self) -> PreparedPool:
        """What all prepared data of the store share."""
        return PreparedPool(storage.parent(self.uri))


class PreparedPool(Folder):
    """All prepared data of a store, with the shards and receipts that they share."""

    @property
    def shards_uri(self) -> str:
        """Folder of all shards."""
        return join(self.uri, "shards")

    @property
    def receipts_uri(self) -> str:
        """Folder of the receipts of all tasks that have written a shard."""
        return join(self.uri, "receipts")

    def receipt_uri(self, key: str) -> str:
        """Receipt of one task."""
        return join(self.receipts_uri, f"{key}.json")

    def prepared(self, fingerprint: str) -> PreparedFolder:
        """The folder of one set of prepared data."""
        return PreparedFolder(join(self.uri, fingerprint))


class StudyFolder(Folder):
    """One search for λ1–λ4."""

    @property
    def record_uri(self) -> str:
        """Folder of the search's events, one file each."""
        return join(self.uri, "record")

    @property
    def config_uri(self) -> str:
        """The resolved configuration."""
        return join(self.uri, "config.json")

    @property
    def result_uri(self) -> str:
        """Written when the study is finished."""
        return join(self.uri, "tuned.json")

    @property
    def overrides_uri(self) -> str:
        """The best weights, as `train --overrides` accepts them."""
        return join(self.uri, "overrides.json")

    @property
    def document_uri(self) -> str:
        """All trials and what was confirmed."""
        return join(self.uri, "study.json")

    @property
    def html_uri(self) -> str:
        """The page."""
        return join(self.uri, "study.html")

    @property
    def mlflow_id_uri(self) -> str:
        """Id of the study's run in MLflow."""
        return join(self.uri, "mlflow_run_id")


class RetrainFolder(Folder):
    """What the ticks of one scheduled retraining leave."""

    @property
    def lease_uri(self) -> str:
        """Folder of the lease that keeps ticks apart."""
        return join(self.uri, "lease")

    @property
    def frozen_uri(self) -> str:
        """The validation split that every model is measured on."""
        return join(self.uri, "frozen.json")

    @property
    def ticks_uri(self) -> str:
        """Folder of the records of all ticks that have ended."""
        return join(self.uri, "ticks")

    def tick_uri(self, key: str) -> str:
        """Record of a tick that has ended."""
        return join(self.ticks_uri, f"{key}.json")

    def newest_tick(self) -> dict[str, Any] | None:
        """Record of the tick that ended last; None: there was none."""
        if not storage.exists(self.ticks_uri):
            return None
        newest = max(storage.list_files(self.ticks_uri), key=lambda file: file.modified)
        return json.loads(storage.read_bytes(join(self.ticks_uri, newest.path)))


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job of this machine."""

    path: Path

    @property
    def log(self) -> Path:
        """What the job and its earlier attempts have printed."""
        return self.path / "log"

    @property
    def record(self) -> Path:
        """Process and command."""
        return self.path / "process.json"

    @property
    def exit_code(self) -> Path:
        """Written when the job has ended by itself."""
        return self.path / "exit_code"

    @property
    def stopped(self) -> Path:
        """Exists where the job was stopped."""
        return self.path / "stopped"

    @property
    def lock(self) -> Path:
        """Held as long as one of the job's processes lives."""
        return self.path / "lock"


class Store(Folder):
    """Everything that the stages write."""

    @classmethod
    def here(cls) -> Store:
        """The store that AUNET_STORE names."""
        return cls(storage.store_root())

    def raw(self, name: str) -> RawFolder:
        """Generated scenes."""
        return RawFolder(join(self.uri, "raw", name))

    @property
    def pool(self) -> PreparedPool:
        """All prepared data."""
        return PreparedPool(join(self.uri, "prepared"))

    def run(self, run_id: str) -> RunFolder:
        """The folder of one training run."""
        return RunFolder(join(self.uri, "runs", run_id))

    def runs(self) -> Iterator[RunFolder]:
        """All training runs."""
        return (self.run(name) for name in storage.list_folders(join(self.uri, "runs")))

    def study(self, study_id: str) -> StudyFolder:
        """The folder of one search."""
        return StudyFolder(join(self.uri, "tuned", study_id))

    def retrain(self, name: str) -> RetrainFolder:
        """The folder of one scheduled retraining."""
        return RetrainFolder(join(self.uri, "retrain", name))

    def pipeline_uri(self, preset: str) -> str:
        """How the last Kubeflow pipeline of a preset ended."""
        return join(self.uri, "pipelines", f"{preset}.json")

    @property
    def mlflow_artifacts_uri(self) -> str:
        """Artifacts of MLflow without a server."""
        return join(self.uri, "mlartifacts")

    @property
    def local_path(self) -> Path:
        """A folder of this machine for what a remote store cannot hold: the store itself, else the working directory's
        `store`."""
        return Path.cwd() / "store" if storage.is_remote(self.uri) else Path(self.uri)

    def job(self, job_id: str) -> JobFolder:
        """The folder of a job of this machine."""
        return JobFolder(self.local_path / "jobs" / job_id)

    @property
    def mlflow_database(self) -> Path:
        """SQLite file of MLflow without a server; beside the working directory where the store is remote."""
        return (Path.cwd() if storage.is_remote(self.uri) else Path(self.uri)) / "mlflow.db"
