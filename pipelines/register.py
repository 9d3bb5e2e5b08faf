"""`register`: a report → a version in the model registry, and its alias if the gate lets it have it."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from aunet.errors import InputError
from pipelines.settings.run_config import RegisterConfig, RunConfig, from_json
from pipelines.store import storage
from pipelines.store.addresses import shown
from pipelines.store.artifacts import Outlook, RegisteredModel, Report, TrainedRun
from pipelines.store.hashes import digest
from pipelines.store.run_folder import read_report
from pipelines.tracking import registry
from pipelines.tracking.address import is_new
from pipelines.tracking.registry import ModelVersion


def _unfenced() -> None:
    """For a process that nobody can take over from."""


def register(config: RunConfig, report: Report, *, fence: Callable[[], object] = _unfenced) -> RegisteredModel:
    """Make the model of a report a version of `config.register.model_name`; twice gives the same version.

    The alias moves to it when no version holds the alias, or when its PQ is at least the holder's plus the margin, both
    measured on the same validation data. The version's tags `decision` and `reason` say what was decided, and its tag
    `model_sha256` which folder is meant.

    Args:
        fence: called before the decision is written, and immediately before the alias moves; what it raises keeps the
            alias where it is.

    Raises:
        InputError: the report is damaged or has no PQ, or its model is not a complete folder or was changed since it
            was registered; nothing is written then.
        Unavailable: the registry does not answer.
    """
    settings, measured = config.register, _read(report.uri)
    _check_unchanged(registry.version_of(measured.model_uri, settings.model_name), measured)
    version = registry.create_version(measured.model_uri, settings.model_name, measured.mlflow_run_id, measured.tags)
    registry.set_tags(version, measured.tags)
    promoted, reason = _decide(settings, version, measured, fence)
    return RegisteredModel(
        uri=version.uri,
        fingerprint=storage.parent(measured.model_uri).rpartition("/")[2],
        name=version.name,
        version=version.number,
        alias=settings.alias if promoted else None,
        reason=reason,
    )


def update_figures(version: ModelVersion, report: Report) -> None:
    """Replace the figures of a version by those of another report of its model, on other validation data.

    Raises:
        InputError: the report is damaged, or the model was changed since it was registered.
    """
    measured = _read(report.uri)
    _check_unchanged(version, measured)
    tags = {name: value for name, value in measured.tags.items() if name != registry.MODEL_SHA256}
    registry.set_tags(version, tags)


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


def _check_unchanged(version: ModelVersion | None, measured: _Measured) -> None:
    before = version.tags.get(registry.MODEL_SHA256) if version else None
    if version and before not in (None, measured.tags[registry.MODEL_SHA256]):
        raise InputError(
            f"{measured.model_uri}: its content is not what it was when it became version {version.number} of "
            f"{version.name}; restore it, or train another run"
        )


def _decide(
    settings: RegisterConfig, version: ModelVersion, measured: _Measured, fence: Callable[[], object]
) -> tuple[bool, str]:
    """Give the version the alias, or not. Returns whether it holds the alias now, and why that was decided."""
    alias = settings.alias
    holder = registry.alias_holder(settings.model_name, alias)
    if holder is not None and holder.number == version.number:
        reason = version.tags.get("reason", f"PQ {measured.pq:.2f}")
        _say(settings, f"{alias} is version {version.number}, as before: {reason}")
        return True, reason
    promoted, reason = _judge(settings, version.number, measured, holder)
    if promoted:
        fence()
    registry.set_tags(version, {"decision": "promoted" if promoted else "held", "reason": reason})  # a crash keeps them
    if promoted:
        fence()
        registry.move_alias(settings.model_name, alias, version)
    _say(settings, reason)
    return promoted, reason


def _judge(settings: RegisterConfig, number: int, measured: _Measured, holder: ModelVersion | None) -> tuple[bool, str]:
    """Whether version `number` gets the alias from `holder`, and why."""
    alias, pq = settings.alias, measured.pq
    if holder is None:
        return True, f"{alias} is version {number} with PQ {pq:.2f}; nobody held it before"
    best = _pq_of(holder)
    if best is None:
        return False, (
            f"{alias} stays with version {holder.number}: its tag PQ = {holder.tags.get('PQ')!r:.40} is not a number; "
            "run `register` for its run again"
        )
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


def _pq_of(version: ModelVersion) -> float | None:
    """The PQ in the tags of a version; None: there is none that is a number."""
    try:
        pq = float(version.tags.get("PQ", "nan"))
    except ValueError:
        return None
    return pq if math.isfinite(pq) else None


def _say(settings: RegisterConfig, message: str) -> None:
    print(f"register {settings.model_name}: {message}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What `register` needs of a report, as `evaluate` writes it."""

    metrics: dict[str, float | None]
    model_uri: str
    mlflow_run_id: str
    data_fingerprint: str
    val_fingerprint: str


def _read(uri: str) -> _Measured:
    """What a report says, once it is known to be complete and its model to be there.

    Raises:
        InputError: it lacks something, holds something else, or names a folder that is not a complete model.
    """
    report = read_report(uri)
    names = [field.name for field in dataclasses.fields(_Facts)]
    if missing := [name for name in names if name not in report]:
        raise InputError(f"{uri}: lacks {', '.join(missing)}; run `evaluate` again")
    try:
        facts: _Facts = from_json(_Facts, {name: report[name] for name in names}, f"{uri}: report")
    except InputError as error:
        raise InputError(f"{problem}; run `evaluate` again" for problem in error.problems) from None
    pq = facts.metrics.get("PQ")
    if not _is_figure(pq) or not 0 <= pq <= 100:
        raise InputError(f"{uri}: PQ = {pq!r}: a model without PQ is not registered; evaluate on annotated images")
    figures = {name: f"{value:.4f}" for name, value in facts.metrics.items() if _is_figure(value)}
    return _Measured(
        model_uri=facts.model_uri,
        mlflow_run_id=facts.mlflow_run_id,
        pq=pq,
        validation=facts.val_fingerprint,
        tags={
            **figures,
            "data_fingerprint": facts.data_fingerprint,
            "val_fingerprint": facts.val_fingerprint,
            registry.MODEL_SHA256: _model_digest(facts.model_uri, uri),
        },
    )


def _model_digest(model_uri: str, report_uri: str) -> str:
    """The hash of the model folder that a report names."""
    named, cure = f"{report_uri}: model_uri = {shown(model_uri)!r}", "run `evaluate` again"
    try:
        if model_uri != storage.absolute(model_uri):
            raise InputError("no absolute path or URI")
        return digest(model_uri)
    except InputError as error:
        raise InputError(f"{named}: {problem}; {cure}" for problem in error.problems) from None


def _is_figure(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
