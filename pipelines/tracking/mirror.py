"""MLflow as the mirror of a ledger: the alias, the versions and their tags follow the entries.

Whoever has written an entry moves the alias afterwards; what was cut off in between, or changed by another hand, is
repaired by the next `reconcile`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aunet.errors import InputError, Refused
from pipelines.store.hashes import digest
from pipelines.store.ledger import Ledger, LedgerEntry
from pipelines.tracking import registry
from pipelines.tracking.registry import MODEL_SHA256, ModelVersion

MAX_ROUNDS = 32
"""How often the head may change while the alias is moved."""
MAX_TAG = 5000
"""Characters of a tag, of which MLflow accepts no more in some versions."""
ENTRY = "ledger_entry"
"""Tag of a version: number of the newest entry that made it champion."""


def differences(ledger: Ledger, name: str, alias: str) -> list[str]:
    """Where MLflow does not say what the ledger says, in words; none where there is no ledger yet.

    Raises:
        InputError: an entry is damaged.
        Unavailable: MLflow does not answer; so with all functions here.
    """
    entries = ledger.entries()
    if not entries:
        return []
    head, versions = entries[-1], registry.own_versions(name)
    different = []
    for entry in _newest_by_model(entries).values():
        version = _version_of(entry, versions)
        if version is None:
            if entry is head or not _folder_problem(entry):  # nothing can mirror a former champion that is gone
                words = f"no version is the model {entry.model_sha256:.16} of entry {entry.number} ({entry.model_uri})"
                different.append(f"{name}: {words}")
            continue
        different += [
            f"{name}: version {version.number}: tag {tag} is {version.tags.get(tag)!r:.80}, by the ledger {value!r:.80}"
            for tag, value in _tags(entry, entries, version).items()
            if version.tags.get(tag) != value
        ]
    holder, champion = registry.alias_holder(name, alias), _version_of(head, versions)
    if champion and (holder is None or holder.number != champion.number):
        pointed = f"version {holder.number}" if holder else "no version"
        different.append(
            f"{name}: {alias} is {pointed}, by entry {head.number} of the ledger version {champion.number}"
        )
    return different


def reconcile(ledger: Ledger, name: str, alias: str) -> ModelVersion | None:
    """Let MLflow say what the ledger says; returns the version that holds the alias, None where there is no entry.

    Several may do so at one moment, while others add entries: each looks at the head again after it moved the alias, so
    that the last to move it moved it to the head.

    Raises:
        InputError: a version is missing, and the folder of its model is not what it was.
    """
    for _ in range(MAX_ROUNDS):
        entries = ledger.entries()
        if not entries:
            return None
        versions = registry.own_versions(name)
        written = [_written(entry, entries, versions, name) for entry in _newest_by_model(entries).values()]
        champion = written[-1]
        assert champion is not None
        holder = registry.alias_holder(name, alias)
        if holder is None or holder.number != champion.number:
            registry.move_alias(name, alias, champion)
        if (head := ledger.head()) and head.sha256 == entries[-1].sha256:
            return champion
    raise Refused(
        f"{ledger.uri}: the champion of {name} changed {MAX_ROUNDS} times in the meantime; run the same again"
    )


def adopt(name: str, alias: str) -> LedgerEntry | None:
    """The first entry of a ledger, for the version that held the alias before there was one; None: nobody does.

    Raises:
        InputError: nothing says what that version's model was.
    """
    holder = registry.alias_holder(name, alias)
    if holder is None:
        return None
    sha256 = holder.tags.get(MODEL_SHA256)
    if sha256 is None:
        raise InputError(
            f"{name}: version {holder.number} holds {alias} without a tag {MODEL_SHA256}; run `register` for its run, "
            "or take the alias from it in MLflow"
        )
    return LedgerEntry(
        action="adopt",
        model_uri=holder.model_uri,
        model_sha256=sha256,
        version=holder.number,
        mlflow_run_id=holder.run_id,
        val_fingerprint=holder.tags.get("val_fingerprint", ""),
        data_fingerprint=holder.tags.get("data_fingerprint", ""),
        figures=_figures(holder.tags),
        why=holder.tags.get("reason") or f"held {alias} before there was a ledger",
    )


def verdict_tags(decision: str, reason: str, gate: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a version that say how it was judged.

    Args:
        gate: all that the gate found, as the ledger keeps it; the tag has its figures only.
    """
    comparison, rehearsal = gate.get("comparison"), gate.get("rehearsal")
    shown: dict[str, Any] = {name: gate[name] for name in ("verdict", "reasons", "notes") if name in gate}
    if isinstance(comparison, dict):
        names = ("PQ", "PQ_th", "PQ_st", "images", "more_images")
        shown["comparison"] = {name: comparison.get(name) for name in names}
    if isinstance(rehearsal, dict):
        shown["rehearsal"] = rehearsal
    tags = {"decision": decision, "reason": reason[:MAX_TAG]}
    return {**tags, "gate": json.dumps(shown)[:MAX_TAG]} if shown else tags


def _newest_by_model(entries: list[LedgerEntry]) -> dict[str, LedgerEntry]:
    """The newest entry of every model, the head's last."""
    newest: dict[str, LedgerEntry] = {}
    for entry in entries:
        newest.pop(entry.model_sha256, None)
        newest[entry.model_sha256] = entry
    return newest


def _version_of(entry: LedgerEntry, versions: list[ModelVersion]) -> ModelVersion | None:
    """The version that is an entry's model: under its number, else any of that folder and hash."""
    same = [version for version in versions if version.model_uri == entry.model_uri]
    recorded = [version for version in same if version.number == entry.version]
    return next(iter(recorded + [v for v in same if v.tags.get(MODEL_SHA256) == entry.model_sha256]), None)


def _written(
    entry: LedgerEntry, entries: list[LedgerEntry], versions: list[ModelVersion], name: str
) -> ModelVersion | None:
    """The version of an entry with its tags, created again where it is missing and its folder is still there."""
    version = _version_of(entry, versions)
    if version is None:
        problem = _folder_problem(entry)
        if problem and entry is entries[-1]:
            cure = "restore the folder, or run `rollback` to another entry"
            raise InputError(f"{name}: no version is the model of entry {entry.number}, and {problem}; {cure}")
        if problem:
            return None
        tags = {metric: f"{value:.4f}" for metric, value in entry.figures.items()}
        tags |= {MODEL_SHA256: entry.model_sha256, "val_fingerprint": entry.val_fingerprint}
        version = registry.create_version(entry.model_uri, name, entry.mlflow_run_id, tags)
    registry.set_tags(version, _tags(entry, entries, version))
    return version


def _folder_problem(entry: LedgerEntry) -> str:
    """Why the folder of an entry's model cannot become a version; empty: it can."""
    try:
        actual = digest(entry.model_uri)
    except InputError as error:
        return error.problems[0]
    return "" if actual == entry.model_sha256 else f"{entry.model_uri} has other content than then"


def _tags(entry: LedgerEntry, entries: list[LedgerEntry], version: ModelVersion) -> dict[str, str]:
    """What the version of an entry's model has to say of itself; a former champion may have been judged again since."""
    head, tags = entries[-1], {MODEL_SHA256: entry.model_sha256}
    if entry is head:
        return {**tags, **verdict_tags("promoted", entry.why, entry.gate), ENTRY: str(entry.number)}
    if head.action == "rollback" and entry.number == head.previous and version.tags.get("decision") == "promoted":
        return {**tags, "decision": "rolled back", "reason": head.why}
    return tags


def _figures(tags: Mapping[str, str]) -> dict[str, float]:
    """The metrics among the tags of a version."""
    figures = {}
    for tag, value in tags.items():
        if tag.startswith(("PQ", "SQ", "RQ", "AP", "mIoU")):
            try:
                figures[tag] = float(value)
            except ValueError:
                continue
    return {tag: value for tag, value in figures.items() if abs(value) <= 100}
