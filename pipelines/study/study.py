"""One study: its settings, its folder, and the runs that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aunet.config import LossWeights
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.addresses import holds_credentials
from pipelines.store.artifacts import PreparedData
from pipelines.store.run_folder import RunFolder
from pipelines.store.study_folder import StudyFolder
from pipelines.study.search import trial_config
from pipelines.tracking.address import tracking_uri
from pipelines.training.identity import run_folder


@dataclass(frozen=True)
class Study:
    """What all steps of one study share."""

    config: RunConfig
    prepared: PreparedData
    folder: StudyFolder
    mlflow_run_id: str
    slots: int
    """Trials at a time."""

    @property
    def name(self) -> str:
        """Part of the identity of its runs."""
        return self.folder.name

    def trial_config(self, weights: LossWeights, seed: int | None = None) -> RunConfig:
        """What a trial with these weights trains."""
        return trial_config(self.config, weights, self.name, seed)

    def run_folder(self, weights: LossWeights) -> RunFolder:
        """The folder of a trial's run."""
        return run_folder(self.trial_config(weights), self.prepared)

    def is_trained(self, weights: LossWeights) -> bool:
        """Whether the run of a trial was finished."""
        return self.run_folder(weights).trained() is not None

    def settings(self) -> dict[str, Any]:
        """What processes on other nodes need to train for this study; no password, which their own environment has."""
        locations = {"AUNET_STORE": storage.store_root(), "MLFLOW_TRACKING_URI": tracking_uri()}
        environment = {name: value for name, value in locations.items() if not holds_credentials(value)}
        return {
            "config": to_json(self.config),
            "study": self.name,
            "prepared": self.prepared,
            "parent": self.mlflow_run_id,
            "environment": environment,
        }
