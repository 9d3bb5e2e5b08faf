"""`rollback`: the model of an earlier entry of the ledger is champion again, in seconds, by a new entry."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from aunet.errors import InputError, Unavailable
from pipelines.measuring.gating.candidates import find_ledger
from pipelines.store.artifacts import VerbResult
from pipelines.store.hashes import digest
from pipelines.store.layout import CHAMPION
from pipelines.store.ledger import LedgerEntry, author, now
from pipelines.tracking import mirror
from pipelines.tracking.delivery import answer_within

PATIENCE = 30.0
"""Seconds that MLflow has to follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolledBack(VerbResult):
    """The entry that was written."""

    name: str
    alias: str
    entry: int
    to: int
    """The entry whose model is champion again."""
    version: int
    model_uri: str
    mirrored: bool
    """Whether MLflow's alias followed."""

    @property
    def exit_code(self) -> int:
        """2 where MLflow did not follow yet."""
        return 0 if self.mirrored else 2


def rollback(
    why: str, model: str | None = None, alias: str = CHAMPION, to: int | None = None, *, patience: float = PATIENCE
) -> RolledBack:
    """Make the model of an earlier entry champion again. The gate is not asked; it holds what was rolled back from.

    Args:
        model: name of the registered model; None: the only one of this store.
        to: number of that entry; None: the one before the entry that made today's champion.
        patience: seconds that MLflow has to follow; the entry stands without it.

    Raises:
        InputError: there is no such entry, or its model is gone or was changed.
        Overtaken: somebody else changed the champion in the meantime; nothing was written.
    """
    name, alias, ledger = find_ledger(model, alias)
    entries = ledger.entries()
    target = _target(entries, to, name)
    try:
        actual = digest(target.model_uri)
    except InputError as error:
        actual = error.problems[0]
    if actual != target.model_sha256:
        raise InputError(
            f"entry {target.number} of {ledger.uri}: {target.model_uri} is not the model that it was ({actual:.120}); "
            "restore it, or choose another entry with --to"
        )
    head = entries[-1]
    entry = ledger.append(
        replace(
            target,
            action="rollback",
            target=target.number,
            why=why,
            who=author(),
            when=now(),
            verdict="",
            gate={},
        ),
        head,
    )
    print(
        f"rollback {name}: {alias} is version {entry.version} again, by entry {entry.number} "
        f"(before: version {head.version})",
        file=sys.stderr,
    )
    mirrored = True
    try:
        answer_within(patience, lambda: mirror.reconcile(ledger, name, alias), "MLflow")
    except (Unavailable, InputError, OSError) as error:
        mirrored = False
        print(
            f"{error}; entry {entry.number} stands, and MLflow's alias does not follow it yet: run "
            f"`ledger {name} --reconcile` when it answers",
            file=sys.stderr,
        )
    return RolledBack(
        name=name,
        alias=alias,
        entry=entry.number,
        to=target.number,
        version=entry.version,
        model_uri=entry.model_uri,
        mirrored=mirrored,
    )


def _target(entries: list[LedgerEntry], to: int | None, name: str) -> LedgerEntry:
    """The entry to go back to, which is no rollback itself."""
    if not entries:
        raise InputError(f"{name}: no ledger in this store, so nothing to go back to; correct the name or AUNET_STORE")
    head = entries[-1]
    if to is not None and not 1 <= to <= head.number:
        raise InputError(f"--to {to}: no such entry; there are 1 … {head.number}, see `ledger {name}`")
    if to is None:
        earlier = entries[: (head.target or head.number) - 1]
        target = next((entry for entry in reversed(earlier) if entry.model_sha256 != head.model_sha256), None)
        if target is None:
            raise InputError(
                f"{name}: no other model was champion before; name an entry with --to, or promote another version with "
                "--force and --why"
            )
    else:
        target = entries[to - 1]
    if target.model_sha256 == head.model_sha256:
        raise InputError(f"{name}: the model of entry {target.number} is champion already, by entry {head.number}")
    return entries[target.target - 1] if target.target else target
