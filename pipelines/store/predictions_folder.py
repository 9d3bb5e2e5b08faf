"""The folder that `predict` writes, in the format of COCO panoptic."""

from __future__ import annotations

from pipelines.store.storage import join
from pipelines.store.stored_folder import Folder

DOCUMENT = "panoptic.json"
"""Written last."""


class PredictionsFolder(Folder):
    """Labelled images: a document and a PNG for each."""

    @property
    def document_uri(self) -> str:
        """The JSON."""
        return join(self.uri, DOCUMENT)

    @property
    def panoptic_uri(self) -> str:
        """Folder of the PNGs."""
        return join(self.uri, "panoptic")
