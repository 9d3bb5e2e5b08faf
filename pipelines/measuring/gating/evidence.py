"""What is known of a model that asks for the alias, or holds it: its report, and the outcome of every segment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from aunet.categories import Categories
from aunet.config_json import from_json
from aunet.errors import InputError
from aunet.evaluation.outcomes import ImageCounts
from pipelines.measuring.outcome_table import from_parquet
from pipelines.measuring.released import inference_settings, released_sections
from pipelines.store import storage
from pipelines.store.addresses import shown
from pipelines.store.hashes import digest
from pipelines.store.layout import PreparedFolder
from pipelines.store.ledger import LedgerEntry
from pipelines.store.origin import Origin
from pipelines.store.run_folder import ReportFolder, RunFolder, read_report

AGAIN = "run `evaluate` again"
ROUNDING = 1e-4
"""Points of PQ by which a report and its outcomes may differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A model as it was measured."""

    model_uri: str
    model_sha256: str
    report_uri: str
    mlflow_run_id: str
    prepared_uri: str
    """The prepared data whose validation split it was measured on; empty: unknown."""
    data_fingerprint: str
    """Theirs."""
    val_fingerprint: str
    """The frozen set; empty: unknown."""
    metrics: Mapping[str, float]
    """In per cent; PQ among them."""
    counts: ImageCounts | None
    """Image by image; None: an earlier version measured it."""
    categories: Categories | None
    """Of the counts."""
    number_formats: tuple[str, ...] = ()
    """In which the network ran; empty: not known."""

    @property
    def run_id(self) -> str:
        """Name of the folder that holds the model's."""
        return storage.parent(self.model_uri).rpartition("/")[2]

    @property
    def origin(self) -> Origin:
        """What its run was made from; empty where that is not known."""
        try:
            return Origin.of(RunFolder(storage.parent(self.model_uri)).history)
        except InputError:
            return Origin()

    @property
    def frozen_uri(self) -> str | None:
        """The prepared data that it was measured on; None: they are not there, or not known."""
        uri = self.prepared_uri
        return uri if uri and storage.exists(PreparedFolder(uri).manifest_uri) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What is needed of a report, as `evaluate` writes it."""

    metrics: dict[str, float | None]
    model_uri: str
    mlflow_run_id: str
    data_fingerprint: str
    val_fingerprint: str
    prepared_uri: str = ""
    settings: dict[str, Any] | None = None
    number_formats: tuple[str, ...] = ()
    """Earlier versions wrote none of the three."""


def read_evidence(report_uri: str) -> Evidence:
    """What a report says, once it is known to be complete and its model to be there.

    Raises:
        InputError: it lacks something, holds something else, or names a folder that is not a complete model.
    """
    report = read_report(report_uri)
    names = [field.name for field in dataclasses.fields(_Facts)]
    optional = [field.name for field in dataclasses.fields(_Facts) if field.default is not dataclasses.MISSING]
    if missing := [name for name in names if name not in report and name not in optional]:
        raise InputError(f"{report_uri}: lacks {', '.join(missing)}; {AGAIN}")
    try:
        plain = {name: report[name] for name in names if name in report}
        facts: _Facts = from_json(_Facts, plain, f"{report_uri}: report")
    except InputError as error:
        raise InputError(f"{problem}; {AGAIN}" for problem in error.problems) from None
    pq = facts.metrics.get("PQ")
    if not _is_figure(pq) or not 0 <= pq <= 100:
        raise InputError(
            f"{report_uri}: PQ = {pq!r}: a model without PQ is not registered; evaluate on annotated images"
        )
    sha256 = _model_digest(facts.model_uri, report_uri)
    _check_released(facts, report_uri)
    counts, categories = _read_counts(report_uri, pq)
    return Evidence(
        model_uri=facts.model_uri,
        model_sha256=sha256,
        report_uri=report_uri,
        mlflow_run_id=facts.mlflow_run_id,
        prepared_uri=facts.prepared_uri,
        data_fingerprint=facts.data_fingerprint,
        val_fingerprint=facts.val_fingerprint,
        metrics={name: value for name, value in facts.metrics.items() if _is_figure(value)},
        counts=counts,
        categories=categories,
        number_formats=facts.number_formats,
    )


def champion_evidence(head: LedgerEntry, validation: str) -> Evidence:
    """What is known of the champion on a validation split.

    Raises:
        InputError: it was not measured on that, or its model is not what the ledger recorded.
    """
    run = RunFolder(storage.parent(head.model_uri))
    uris = [run.report(validation or None).document_uri, run.report().document_uri, *filter(None, [head.report_uri])]
    for uri in dict.fromkeys(uris):
        if not storage.exists(uri):
            continue
        evidence = read_evidence(uri)
        if evidence.val_fingerprint != validation or evidence.model_uri != head.model_uri:
            continue
        if evidence.model_sha256 != head.model_sha256:
            raise InputError(
                f"{head.model_uri}: its content is not what entry {head.number} of the ledger recorded; restore it, or "
                "run `rollback` to another entry"
            )
        return evidence
    raise InputError(
        f"the champion, version {head.version}, has no report on validation data {validation or 'unknown'}; `retrain` "
        f"measures both on the same, or run `evaluate` with --run {storage.parent(head.model_uri)}"
    )


def _read_counts(report_uri: str, pq: float) -> tuple[ImageCounts | None, Categories | None]:
    uri = ReportFolder(storage.parent(report_uri)).outcomes_uri
    if not storage.exists(uri):
        return None, None
    outcomes, _, categories = from_parquet(storage.read_bytes(uri), uri)
    counts = outcomes.counts(categories)
    if abs((counted := counts.quality(categories).all.pq) - pq) > ROUNDING:
        raise InputError(f"{uri}: gives PQ {counted:.2f}, {report_uri} says {pq:.2f}; {AGAIN}")
    return counts, categories


def _model_digest(model_uri: str, report_uri: str) -> str:
    """The hash of the model folder that a report names."""
    named = f"{report_uri}: model_uri = {shown(model_uri)!r}"
    try:
        if model_uri != storage.absolute(model_uri):
            raise InputError("no absolute path or URI")
        return digest(model_uri)
    except InputError as error:
        raise InputError(f"{named}: {problem}; {AGAIN}" for problem in error.problems) from None


def _check_released(facts: _Facts, report_uri: str) -> None:
    """Check that the model was measured as it is released; what an earlier version measured is not known."""
    if facts.settings is None:
        return
    released = inference_settings(*released_sections(RunFolder(storage.parent(facts.model_uri))))
    differing = {name: used for name, used in facts.settings.items() if used != released.get(name)}
    if differing:
        (name, used), *_ = differing.items()
        raise InputError(
            f"{report_uri}: measured with {name} = {used}, its model is released with {released.get(name)}; "
            f"`evaluate` it without that setting, or train a run of its own with it"
        )


def _is_figure(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
