"""`ledger`: who became champion, when, by whom and why; and whether MLflow says the same."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from pipelines.measuring.gating.candidates import find_ledger
from pipelines.measuring.gating.promotion import begun_ledger, repair
from pipelines.pages.ledger_table import print_entries
from pipelines.settings.run_config import RegisterConfig
from pipelines.store.artifacts import VerbResult
from pipelines.store.layout import CHAMPION
from pipelines.tracking import mirror
from pipelines.tracking.address import check_tracking


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerState(VerbResult):
    """A ledger, and where MLflow differs from it."""

    model_name: str
    alias: str
    uri: str
    entries: tuple[dict[str, Any], ...]
    """Oldest first, without all that the gate found."""
    champion: dict[str, Any] | None
    """The newest entry, whole."""
    differences: tuple[str, ...]
    """In words; those that were there before a repair."""
    repaired: bool
    """Whether a repair was asked for, and nothing differs any more."""

    @property
    def exit_code(self) -> int:
        """2 where MLflow differs from the ledger."""
        return 2 if self.differences and not self.repaired else 0


def ledger(model: str | None = None, alias: str = CHAMPION, reconcile: bool = False) -> LedgerState:
    """Show a ledger, and compare MLflow with it.

    Args:
        model: name of the registered model; None: the only one of this store.
        reconcile: let MLflow say what the ledger says. Where there is no ledger yet, its first entry is the version
            that holds the alias.

    Raises:
        InputError: there is no such ledger, or it is damaged.
        Unavailable: MLflow does not answer.
    """
    check_tracking()
    name, alias, book = find_ledger(model, alias)
    settings = RegisterConfig(model_name=name, alias=alias)
    if reconcile:
        begun_ledger(settings)
    entries = book.entries()
    if not entries:
        print(f"ledger {name}: no entry for {alias} yet; `register` writes the first, or --reconcile", file=sys.stderr)
    else:
        print_entries([entry.to_json() for entry in entries], f"{name}@{alias}")
    different = repair(book, settings) if reconcile else mirror.differences(book, name, alias)
    left = mirror.differences(book, name, alias) if reconcile and different else different
    for words in left:
        print(f"differs: {words}", file=sys.stderr)
    if left:
        cure = "run the same again, or correct it in MLflow" if reconcile else f"run `ledger {name} --reconcile`"
        print(f"MLflow differs from the ledger; {cure}", file=sys.stderr)
    return LedgerState(
        model_name=name,
        alias=alias,
        uri=book.uri,
        entries=tuple({k: v for k, v in entry.to_json().items() if k != "gate"} for entry in entries),
        champion=entries[-1].to_json() if entries else None,
        differences=tuple(different),
        repaired=reconcile and not left,
    )
