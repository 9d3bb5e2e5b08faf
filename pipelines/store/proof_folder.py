"""The folder of a proof: a store of its own for every run of it, what reached their networks, and the certificate."""

from __future__ import annotations

from pipelines.store.storage import join
from pipelines.store.stored_folder import Folder


class ProofFolder(Folder):
    """One proof that a training loses nothing."""

    def store_uri(self, name: str) -> str:
        """The store of one of its runs."""
        return join(self.uri, name, "store")

    def audit_uri(self, name: str) -> str:
        """Folder of what reached the network in one of its runs."""
        return join(self.uri, name, "audit")

    @property
    def document_uri(self) -> str:
        """The certificate, written last."""
        return join(self.uri, "certificate.json")

    @property
    def html_uri(self) -> str:
        """Its page."""
        return join(self.uri, "certificate.html")
