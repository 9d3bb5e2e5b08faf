"""`promote`: a measured model → champion, if the gate allows it, or by force with a reason."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError
from pipelines.measuring.gating.candidates import candidate
from pipelines.measuring.gating.promotion import propose
from pipelines.measuring.gating.rehearsal import Rehearse, rehearse
from pipelines.store.artifacts import VerbResult
from pipelines.tracking.address import check_tracking


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion(VerbResult):
    """What became of a model that was to be promoted."""

    name: str
    version: int
    alias: str | None
    """The alias it holds; None: the gate holds it."""
    verdict: str
    """Of the gate: PROMOTE, HOLD or UNDECIDED; empty: it was champion already."""
    reason: str
    entry: int | None
    """Number of its entry in the ledger; None: there is none."""
    gate: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """3 where the gate holds the model."""
        return 0 if self.alias else 3


def promote(model: str, why: str | None = None, force: bool = False, *, rehearse: Rehearse = rehearse) -> Promotion:
    """Make a model champion, if the gate allows it.

    Args:
        model: `models:/name/version`, or the URI of a run or of its model folder; it has a report.
        why: kept in the ledger.
        force: whatever the gate says; the ledger records that, and why. Needs `why`.

    Raises:
        InputError: there is no such model or no report of it, or it or the frozen set was changed.
        Unavailable: MLflow does not answer.
    """
    if force and not why:
        raise InputError("--force needs --why: the reason is what the next person will read in the ledger")
    check_tracking()
    settings, evidence = candidate(model)
    decision = propose(settings, evidence, why=why or "", force=force, rehearse=rehearse)
    verdict = decision.findings.verdict if decision.findings else ""
    print(f"promote {settings.model_name}: {verdict}{': ' if verdict else ''}{decision.reason}", file=sys.stderr)
    return Promotion(
        name=decision.version.name,
        version=decision.version.number,
        alias=settings.alias if decision.is_champion else None,
        verdict=verdict,
        reason=decision.reason,
        entry=decision.entry.number if decision.entry else None,
        gate=decision.findings.to_json() if decision.findings else {},
    )
