"""Where everything is in the store: one class per kind of folder; nobody else knows the names in it.

Runs and their reports have a file of their own, `run_folder`, as have `checkpoints` and `history`.

```
raw/<name>/                  generated scenes                 RawFolder
prepared/<fingerprint>/      manifest, indexes of the splits  PreparedFolder
prepared/shards, receipts    shared by all prepared data      PreparedPool
runs/<run id>/               one training run                 RunFolder
  checkpoints/<step>-<token>/                                 Checkpoints
  events/, events.jsonl      what happened                    History
  reports/<validation>/      a report on other data           ReportFolder (the run's own: in its folder)
tuned/<study id>/            one search for λ1–λ4             StudyFolder
retrain/<preset>/            frozen set, ticks, lease         RetrainFolder
ledger/<model name>/         who became champion              Ledger
jobs/<id>/                   a job of this machine            JobFolder
jobs/<id>.json               how a job of a cluster ended for good
proofs/<id>/                 a proof that nothing is lost     ProofFolder
pipelines/<preset>.json      how a Kubeflow pipeline ended
mlflow.db, mlartifacts/      MLflow without a server
aunet-store.json             says that the folder is a store
```

What is being written has `in_use/` in it, see the module of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from aunet.errors import InputError
from aunet.names import NAME, check_name
from pipelines.store import storage
from pipelines.store.job_folder import JobFolder
from pipelines.store.ledger import Ledger
from pipelines.store.proof_folder import ProofFolder
from pipelines.store.run_folder import IN_USE, RunFolder
from pipelines.store.storage import join
from pipelines.store.stored_folder import Folder
from pipelines.store.study_folder import StudyFolder

CHAMPION = "champion"
"""The usual alias."""
MANIFEST = "manifest.json"
"""In folders of prepared data."""
_OWN = re.compile(
    r"shards/[0-9a-f]{32}\.parquet|receipts/[0-9a-f]{32}\.json|in_use/[A-Za-z0-9._-]+\.json"
    r"|[0-9a-f]{16}/[A-Za-z0-9_-]+-[0-9a-f]{16}\.index\.parquet"
)
"""Paths of what a pool has besides manifests."""


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

    @staticmethod
    def is_own(path: str) -> bool:
        """Whether `path`, relative to the pool, is that of a shard, a receipt, an index or a mark."""
        return bool(_OWN.fullmatch(path))

    @property
    def in_use_uri(self) -> str:
        """Folder of the marks of those who write shards."""
        return join(self.uri, IN_USE)

    def prepared(self, fingerprint: str) -> PreparedFolder:
        """The folder of one set of prepared data."""
        return PreparedFolder(join(self.uri, fingerprint))


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

    def newest_tick_uri(self) -> str | None:
        """Record of the tick that ended last; None: there was none."""
        if not storage.exists(self.ticks_uri):
            return None
        records = [file for file in storage.list_files(self.ticks_uri) if file.path.endswith(".json")]
        newest = max(records, key=lambda file: file.modified, default=None)
        return join(self.ticks_uri, newest.path) if newest else None


class Store(Folder):
    """Everything that the stages write."""

    @classmethod
    def here(cls) -> Store:
        """The store that AUNET_STORE names."""
        return cls(storage.store_root())

    @property
    def marker_uri(self) -> str:
        """The file that says that the folder is a store."""
        return join(self.uri, "aunet-store.json")

    def claim(self) -> None:
        """Mark the folder as a store; whoever begins to write shards or a run calls this."""
        if not storage.exists(self.marker_uri):
            storage.write_bytes(self.marker_uri, b"{}\n")

    def check_claimed(self) -> None:
        """Make sure that the folder is a store; whoever deletes what is no longer needed calls this.

        Raises:
            InputError: it does not exist, or nothing says that it is a store.
        """
        if not self.exists():
            raise InputError(f"AUNET_STORE = {self.uri}: no such store; name one that was written to")
        if not storage.exists(self.marker_uri):
            name = self.marker_uri.rpartition("/")[2]
            raise InputError(
                f"AUNET_STORE = {self.uri}: not marked as a store, nothing is deleted in it; if it is one of an "
                f"earlier version, run `preprocess` again or put a file {name} into it; else correct AUNET_STORE"
            )

    def raw(self, name: str) -> RawFolder:
        """Generated scenes."""
        return RawFolder(join(self.uri, "raw", name))

    @property
    def pool(self) -> PreparedPool:
        """All prepared data."""
        return PreparedPool(join(self.uri, "prepared"))

    def run(self, run_id: str) -> RunFolder:
        """The folder of one training run."""
        return RunFolder(join(self.uri, "runs", check_name("run", run_id)))

    def runs(self) -> Iterator[RunFolder]:
        """All training runs; nothing that has not the name of one."""
        return (self.run(name) for name in storage.list_folders(join(self.uri, "runs")) if NAME.fullmatch(name))

    def without_links(self) -> tuple[list[PreparedPool], list[RunFolder]]:
        """The pool and the runs that are in this folder itself, not behind a link."""
        own = storage.list_folders(self.uri, follow_links=False)
        runs = storage.list_folders(join(self.uri, "runs"), follow_links=False) if "runs" in own else []
        return [self.pool] * (self.pool.name in own), [self.run(name) for name in runs if NAME.fullmatch(name)]

    def study(self, study_id: str) -> StudyFolder:
        """The folder of one search."""
        return StudyFolder(join(self.uri, "tuned", check_name("study", study_id)))

    def retrain(self, name: str) -> RetrainFolder:
        """The folder of one scheduled retraining."""
        return RetrainFolder(join(self.uri, "retrain", check_name("retrain", name)))

    def ledger(self, model_name: str, alias: str = CHAMPION) -> Ledger:
        """The ledger of a registered model; of another alias than the usual one, a ledger of its own."""
        name = check_name("model name", model_name)
        other = "" if alias == CHAMPION else f"@{check_name('alias', alias)}"
        return Ledger(join(self.uri, "ledger", f"{name}{other}"))

    def ledgers(self) -> list[tuple[str, str]]:
        """Model name and alias of all ledgers."""
        pairs = (name.partition("@") for name in storage.list_folders(join(self.uri, "ledger")))
        return [(name, alias or CHAMPION) for name, _, alias in pairs if NAME.fullmatch(name)]

    def proof(self, proof_id: str) -> ProofFolder:
        """The folder of one proof."""
        return ProofFolder(join(self.uri, "proofs", check_name("proof", proof_id)))

    def pipeline_uri(self, preset: str) -> str:
        """How the last Kubeflow pipeline of a preset ended."""
        return join(self.uri, "pipelines", f"{check_name('preset', preset)}.json")

    def job_end_uri(self, job_id: str) -> str:
        """How a job of a cluster ended that is not to be started again."""
        return join(self.uri, "jobs", f"{check_name('--id', job_id)}.json")

    def job_logs_uri(self, job_id: str) -> str:
        """Folder of the logs of a job of a cluster."""
        return join(self.uri, "jobs", check_name("--id", job_id), "logs")

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
        """The folder of a job of this machine.

        Raises:
            InputError: `job_id` is not a name.
        """
        return JobFolder(self.local_path / "jobs" / check_name("--id", job_id))

    @property
    def mlflow_database(self) -> Path:
        """SQLite file of MLflow without a server; beside the working directory where the store is remote."""
        return (Path.cwd() if storage.is_remote(self.uri) else Path(self.uri)) / "mlflow.db"
