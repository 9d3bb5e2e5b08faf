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
from pipelines.config import RunConfig

REPORT = "report.json"


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
    report = _report(uri)
    settings = config.register
    version, alias, reason = register_model(
        report["model_uri"],
        settings.model_name,
        run_id=report["mlflow_run_id"],
        metrics={name: value for name, value in report["metrics"].items() if _is_figure(value)},
        alias=settings.alias,
        margin=settings.margin,
        data_fingerprint=report["data_fingerprint"],
    )
    print(f"register {settings.model_name}: {reason}", file=sys.stderr)
    return RegisteredModel(
        uri=f"{tracking.PREFIX}{settings.model_name}/{version}",
        fingerprint=uri.rstrip("/").rsplit("/", 1)[-1],
        name=settings.model_name,
        version=version,
        alias=alias,
    )


def register_model(
    model_uri: str,
    name: str,
    *,
    run_id: str,
    metrics: Mapping[str, float],
    alias: str,
    margin: float = 0.0,
    data_fingerprint: str = "",
) -> Registration:
    """Make the model folder at `model_uri` a version of the registered model `name`; twice gives the same version.

    The alias moves to it when nobody holds the alias, or when its PQ is at least the holder's plus `margin`.
    """
    mlflow = tracking.client()
    with tracking.unless_there():
        mlflow.create_registered_model(name)
    version = next((v for v in mlflow.search_model_versions(f"name='{name}'") if v.source == model_uri), None)
    if version is None:
        tags = {key: f"{value:.4f}" for key, value in metrics.items()} | {"data_fingerprint": data_fingerprint}
        version = mlflow.create_model_version(name, model_uri, run_id, tags=tags)
    holder = mlflow.get_registered_model(name).aliases.get(alias)
    number, quality = int(version.version), metrics["PQ"]
    if holder is None:
        reason = f"{alias} is version {number} with PQ {quality:.2f}; nobody held it before"
    elif int(holder) == number:
        reason = f"{alias} is version {number} with PQ {quality:.2f}, as before"
    else:
        best = float(mlflow.get_model_version(name, str(holder)).tags.get("PQ", "-inf"))
        comparison = f"PQ {quality:.2f} against version {holder}'s {best:.2f} with margin {margin:g}"
        if not quality >= best + margin:
            return Registration(number, None, f"{alias} stays with version {holder}: version {number} has {comparison}")
        reason = f"{alias} moves to version {number}: {comparison}"
    mlflow.set_registered_model_alias(name, alias, str(number))
    return Registration(number, alias, reason)


def _run_of(config: RunConfig) -> str:
    from pipelines.preprocess import preprocess
    from pipelines.train import run_uri

    return run_uri(config, preprocess(config))


def _report(uri: str) -> dict[str, Any]:
    place = storage.join(uri, REPORT)
    if not storage.exists(place):
        raise InputError(f"{place}: no report; run `evaluate` on this run first, or name another with --run")
    try:
        report = json.loads(storage.read_bytes(place))
        missing = [key for key in ("metrics", "model_uri", "mlflow_run_id", "data_fingerprint") if key not in report]
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
