"""`register`: an evaluated run → a version in the model registry, and its alias if the gate lets it have it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from aunet.errors import InputError
from pipelines import storage, tracking
from pipelines.artifacts import RegisteredModel
from pipelines.config import RegisterConfig, RunConfig

REPORT = "report.json"
ModelVersion = Any
"""MLflow's own type, which only `tracking` knows."""


class Registration(NamedTuple):
    """What became of a model offered to the registry."""

    version: int
    alias: str | None
    """The alias that this version holds now; None: it stayed where it was."""
    reason: str


def register(config: RunConfig, run: str | None = None) -> RegisteredModel:
    """Register the model of an evaluated run under `config.register`.

    Args:
        run: URI of the run; None: the run that `config` names.

    Raises:
        InputError: the run has no report, or a report without PQ.
    """
    uri = run or _run_of(config)
    model, reason = register_report(config.register, uri, storage.join(uri, REPORT))
    print(f"register {model.name}: {reason}", file=sys.stderr)
    return model


def register_report(settings: RegisterConfig, run: str, report_uri: str) -> tuple[RegisteredModel, str]:
    """Register the model of a run by one of its reports; returns it and why the alias went where it is.

    Raises:
        InputError: there is no such report, or it has no PQ.
    """
    report = _report(report_uri)
    version, alias, reason = register_model(
        report["model_uri"],
        settings.model_name,
        run_id=report["mlflow_run_id"],
        metrics=_figures(report),
        alias=settings.alias,
        margin=settings.margin,
        data_fingerprint=report["data_fingerprint"],
        val_fingerprint=report["val_fingerprint"],
    )
    model = RegisteredModel(
        uri=f"{tracking.PREFIX}{settings.model_name}/{version}",
        fingerprint=run.rstrip("/").rsplit("/", 1)[-1],
        name=settings.model_name,
        version=version,
        alias=alias,
    )
    return model, reason


def register_model(
    model_uri: str,
    name: str,
    *,
    run_id: str,
    metrics: Mapping[str, float],
    alias: str,
    margin: float = 0.0,
    data_fingerprint: str = "",
    val_fingerprint: str = "",
) -> Registration:
    """Make the model folder at `model_uri` a version of the registered model `name`; twice gives the same version.

    The alias moves to it when nobody holds the alias, or when its PQ is at least the holder's plus `margin`, both of
    the same validation data. The version's tags `decision` and `reason` say what was decided.
    """
    mlflow = tracking.client()
    with tracking.unless_there():
        mlflow.create_registered_model(name)
    tags = _tags(metrics, data_fingerprint, val_fingerprint)
    version = version_of(model_uri, name)
    if version is None:
        version = mlflow.create_model_version(name, model_uri, run_id, tags=tags)
    number, quality = int(version.version), metrics["PQ"]
    _set_tags(version, tags)
    holder = alias_holder(name, alias)
    if holder is not None and int(holder.version) == number:
        decided = version.tags.get("reason", f"PQ {quality:.2f}")
        return Registration(number, alias, f"{alias} is version {number}, as before: {decided}")
    promoted, reason = _judge(number, quality, val_fingerprint, holder, alias, margin)
    _set_tags(version, {"decision": "promoted" if promoted else "held", "reason": reason})
    if promoted:
        mlflow.set_registered_model_alias(name, alias, str(number))
    return Registration(number, alias if promoted else None, reason)


def alias_holder(name: str, alias: str) -> ModelVersion:
    """The version that an alias of a registered model points to; None where there is no such model or alias."""
    mlflow = tracking.client()
    models = {model.name: model for model in mlflow.search_registered_models(f"name='{name}'")}
    number = models[name].aliases.get(alias) if name in models else None
    return None if number is None else mlflow.get_model_version(name, str(number))


def take_figures(version: ModelVersion, report_uri: str) -> None:
    """Put the figures of another report of a version's model, of other validation data, into its tags."""
    report = _report(report_uri)
    _set_tags(version, _tags(_figures(report), report["data_fingerprint"], report["val_fingerprint"]))


def _judge(
    number: int, quality: float, validation: str, holder: ModelVersion, alias: str, margin: float
) -> tuple[bool, str]:
    """Whether version `number` takes the alias from `holder`, and why."""
    if holder is None:
        return True, f"{alias} is version {number} with PQ {quality:.2f}; nobody held it before"
    best, measured = float(holder.tags.get("PQ", "-inf")), holder.tags.get("val_fingerprint") or "unknown"
    if measured != (validation or "unknown"):
        return False, (
            f"{alias} stays with version {holder.version}: its PQ {best:.2f} is of validation data {measured}, PQ "
            f"{quality:.2f} of version {number} of {validation or 'unknown'}, and they cannot be compared; `retrain` "
            "measures both on the same"
        )
    comparison = f"PQ {quality:.2f} against version {holder.version}'s {best:.2f} with margin {margin:g}"
    if not quality >= best + margin:
        return False, f"{alias} stays with version {holder.version}: version {number} has {comparison}"
    return True, f"{alias} moves to version {number}: {comparison}"


def _tags(metrics: Mapping[str, float], data_fingerprint: str, val_fingerprint: str) -> dict[str, str]:
    figures = {key: f"{value:.4f}" for key, value in metrics.items()}
    return figures | {"data_fingerprint": data_fingerprint, "val_fingerprint": val_fingerprint}


def _set_tags(version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Write those tags of a version that say something else."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            tracking.client().set_model_version_tag(version.name, str(version.version), key, value)


def _figures(report: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in report["metrics"].items() if _is_figure(value)}


def version_of(model_uri: str, name: str) -> Any:
    """The version of the registered model `name` that is the model folder at `model_uri`; None: there is none.

    Raises:
        InputError: the tracking server does not answer.
    """
    with tracking.answering():
        versions = tracking.client().search_model_versions(f"name='{name}'")
    return next((version for version in versions if version.source == model_uri), None)


def _run_of(config: RunConfig) -> str:
    from pipelines.preprocess import preprocess
    from pipelines.train import run_uri

    return run_uri(config, preprocess(config))


def _report(place: str) -> dict[str, Any]:
    if not storage.exists(place):
        raise InputError(f"{place}: no report; run `evaluate` on this run first, or name another with --run")
    try:
        report = json.loads(storage.read_bytes(place))
        needed = ("metrics", "model_uri", "mlflow_run_id", "data_fingerprint", "val_fingerprint")
        missing = [key for key in needed if key not in report]
    except (ValueError, TypeError) as error:
        raise InputError(f"{place}: not a report ({error}); run `evaluate` again") from None
    if missing:
        raise InputError(f"{place}: lacks {', '.join(missing)}; run `evaluate` again")
    if not _is_figure(report["metrics"].get("PQ")):
        value = report["metrics"].get("PQ")
        raise InputError(f"{place}: PQ = {value!r}: a model without PQ is not registered; evaluate on annotated images")
    return report


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
