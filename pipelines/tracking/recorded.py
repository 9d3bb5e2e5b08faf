"""What ledgers have recorded of a registered model's versions, whose numbers begin anew where MLflow is lost."""

from __future__ import annotations

from aunet.names import NAME
from pipelines.store.layout import Store
from pipelines.store.ledger import LedgerEntry


def recorded_entries(name: str) -> list[LedgerEntry]:
    """The entries of all ledgers of a registered model, one for each of its aliases.

    Raises:
        InputError: a ledger is damaged.
    """
    if not NAME.fullmatch(name):  # such a model has none
        return []
    store = Store.here()
    ledgers = [store.ledger(model, alias) for model, alias in store.ledgers() if model == name]
    return [entry for ledger in ledgers for entry in ledger.entries()]


def recorded_folders(name: str) -> dict[int, set[str]]:
    """Number of a version → the model folders that the ledgers have recorded under it."""
    folders: dict[int, set[str]] = {}
    for entry in recorded_entries(name):
        folders.setdefault(entry.version, set()).add(entry.model_uri)
    return folders
