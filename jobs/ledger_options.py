"""The options of the verbs that read or write the ledger of a registered model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.options import Options, operand
from pipelines.presets import PRESETS
from pipelines.settings.run_config import RegisterConfig


@dataclass(frozen=True, kw_only=True)
class _LedgerOf(Options):
    """A registered model, whose ledger is meant."""

    model: str | None = operand(optional=True)
    """Name of a registered model, or a preset that registers one; if omitted, the only one of the store."""
    alias: str | None = None
    """Alias that the ledger is of; if omitted, the preset's, or champion."""

    def arguments(self) -> dict[str, Any]:
        preset = PRESETS.get(self.model or "")
        settings = preset().register if preset else RegisterConfig()
        name = settings.model_name if preset else self.model
        return {**super().arguments(), "model": name, "alias": self.alias or settings.alias}


@dataclass(frozen=True, kw_only=True)
class LedgerOptions(_LedgerOf):
    """A registered model, and whether MLflow is repaired."""

    reconcile: bool = False
    """Let MLflow's versions and alias say what the ledger says."""


@dataclass(frozen=True, kw_only=True)
class RollbackOptions(_LedgerOf):
    """A registered model, and where to go back to."""

    why: str
    """Reason, which the ledger keeps."""
    to: int | None = None
    """Number of an entry of the ledger; if omitted, the one before today's champion."""


@dataclass(frozen=True, kw_only=True)
class PromoteOptions(Options):
    """A model that is to be champion."""

    model: str = operand()
    """Model: models:/NAME/VERSION, or the URI of a run or of its model folder."""
    why: str | None = None
    """Reason, which the ledger keeps."""
    force: bool = False
    """Whatever the gate says; needs --why, and the ledger says so."""
