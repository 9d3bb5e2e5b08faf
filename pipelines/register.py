"""`register`: a report → a version in the model registry, and its alias if the gate lets it have it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError
from pipelines.settings.run_config import RegisterConfig, RunConfig
from pipelines.store import storage
from pipelines.store.artifacts import Outlook, RegisteredModel, Report, TrainedRun
from pipelines.store.run_folder import read_report
from pipelines.tracking import registry
from pipelines.tracking.address import is_new
from pipelines.tracking.registry import ModelVersion


def register(config: RunConfig, report: Report) -> RegisteredModel:
    """Make the model of a report a version of `config.register.model_name`; twice gives the same version.

    The alias moves to it when no version holds the alias, or when its PQ is at least the holder's plus the margin, both
    measured on the same validation data. The version's tags `decision` and `reason` say what was decided.

    Raises:
        InputError: the report is damaged, or has no PQ.
        Unavailable: the registry does not answer.
    """
    settings, measured = config.register, _read(report.uri)
    version = registry.create_version(measured.model_uri, settings.model_name, measured.mlflow_run_id, measured.tags)
    registry.set_tags(version, measured.tags)
    promoted, reason = _decide(settings, version, measured)
    return RegisteredModel(
        uri=version.uri,
        fingerprint=storage.parent(measured.model_uri).rpartition("/")[2],
        name=version.name,
        version=version.number,
        alias=settings.alias if promoted else None,
        reason=reason,
    )


def update_figures(version: ModelVersion, report: Report) -> None:
    """Replace the figures of a version by those of another report of its model, on other validation data."""
    registry.set_tags(version, _read(report.uri).tags)


def outlook(config: RunConfig, run: TrainedRun | None, report: Report | None) -> Outlook:
    """What `register` would do; None: that artifact does not exist yet.

    Raises:
        Unavailable: the registry does not answer.
    """
    if run is None or report is None:
        return Outlook(stage="register", action="run", why="there is no report yet")
    name = config.register.model_name
    version = None if is_new() else registry.version_of(run.model_uri, name)
    if version is None:
        return Outlook(stage="register", action="run", why=f"no version of {name} is this model")
    return Outlook(stage="register", action="skip", why=f"version {version.number} of {name} is this model")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """What a report says of a model."""

    model_uri: str
    mlflow_run_id: str
    pq: float
    validation: str
    """Fingerprint of the validation data; empty: unknown."""
    tags: Mapping[str, str]


def _decide(settings: RegisterConfig, version: ModelVersion, measured: _Measured) -> tuple[bool, str]:
    """Give the version the alias, or not. Returns whether it holds the alias now, and why that was decided."""
    alias = settings.alias
    holder = registry.alias_holder(settings.model_name, alias)
    if holder is not None and holder.number == version.number:
        reason = version.tags.get("reason", f"PQ {measured.pq:.2f}")
        _say(settings, f"{alias} is version {version.number}, as before: {reason}")
        return True, reason
    promoted, reason = _judge(settings, version.number, measured, holder)
    registry.set_tags(version, {"decision": "promoted" if promoted else "held", "reason": reason})
    if promoted:
        registry.move_alias(settings.model_name, alias, version)
    _say(settings, reason)
    return promoted, reason


def _judge(settings: RegisterConfig, number: int, measured: _Measured, holder: ModelVersion | None) -> tuple[bool, str]:
    """Whether version `number` gets the alias from `holder`, and why."""
    alias, pq = settings.alias, measured.pq
    if holder is None:
        return True, f"{alias} is version {number} with PQ {pq:.2f}; nobody held it before"
    best = float(holder.tags.get("PQ", "-inf"))
    validation, holders_validation = measured.validation or "unknown", holder.tags.get("val_fingerprint") or "unknown"
    if holders_validation != validation:
        return False, (
            f"{alias} stays with version {holder.number}: its PQ {best:.2f} is of validation data "
            f"{holders_validation}, PQ {pq:.2f} of version {number} of {validation}, and they cannot be compared; "
            "`retrain` measures both on the same"
        )
    comparison = f"PQ {pq:.2f} against version {holder.number}'s {best:.2f} with margin {settings.margin:g}"
    if not pq >= best + settings.margin:
        return False, f"{alias} stays with version {holder.number}: version {number} has {comparison}"
    return True, f"{alias} moves to version {number}: {comparison}"


def _say(settings: RegisterConfig, message: str) -> None:
    print(f"register {settings.model_name}: {message}", file=sys.stderr)


def _read(uri: str) -> _Measured:
    report = read_report(uri)
    missing = [
        key
        for key in ("metrics", "model_uri", "mlflow_run_id", "data_fingerprint", "val_fingerprint")
        if key not in report
    ]
    if missing:
        raise InputError(f"{uri}: lacks {', '.join(missing)}; run `evaluate` again")
    pq = report["metrics"].get("PQ")
    if not _is_figure(pq):
        raise InputError(f"{uri}: PQ = {pq!r}: a model without PQ is not registered; evaluate on annotated images")
    figures = {name: f"{value:.4f}" for name, value in report["metrics"].items() if _is_figure(value)}
    validation = report["val_fingerprint"]
    return _Measured(
        model_uri=report["model_uri"],
        mlflow_run_id=report["mlflow_run_id"],
        pq=pq,
        validation=validation,
        tags={**figures, "data_fingerprint": report["data_fingerprint"], "val_fingerprint": validation},
    )


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
