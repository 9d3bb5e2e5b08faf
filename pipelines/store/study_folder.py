"""The folder of a search for λ1–λ4: its events, its result, and the lease of the process that searches."""

from __future__ import annotations

from pipelines.store.storage import join
from pipelines.store.stored_folder import Folder


class StudyFolder(Folder):
    """One search for λ1–λ4."""

    @property
    def lease_uri(self) -> str:
        """Folder of the lease of the process that searches."""
        return join(self.uri, "lease")

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
