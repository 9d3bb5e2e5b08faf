"""A measured model asks for the alias: version, gate, ledger, and MLflow after it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from aunet.errors import InputError, Refused
from pipelines.measuring.gating.evidence import Evidence, champion_evidence
from pipelines.measuring.gating.frozen import check_frozen, golden_images, moved_into_training
from pipelines.measuring.gating.gate import Findings, Incumbent, judge
from pipelines.measuring.gating.namesakes import categories_of, other_categories
from pipelines.measuring.gating.rehearsal import Rehearsal, Rehearse, rehearse
from pipelines.settings.run_config import RegisterConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder, Store
from pipelines.store.ledger import Ledger, LedgerEntry, Overtaken, rolled_back
from pipelines.tracking import mirror, registry
from pipelines.tracking.notes import version_description
from pipelines.tracking.registry import ModelVersion


def unfenced() -> None:
    """For a process that nobody can take over from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What became of a model that asked for the alias."""

    version: ModelVersion
    is_champion: bool
    reason: str
    entry: LedgerEntry | None
    """The ledger's head where it is this model."""
    findings: Findings | None
    """None: it was the champion already."""


def propose(
    settings: RegisterConfig,
    evidence: Evidence,
    *,
    why: str = "",
    force: bool = False,
    fence: Callable[[], object] = unfenced,
    rehearse: Rehearse = rehearse,
) -> Decision:
    """Make a measured model a version, and champion if the gate allows it; twice gives the same.

    The decision is made against the head of the ledger, and again against the new one where somebody was faster; MLflow
    follows the ledger.

    Args:
        why: what a person gives as the reason.
        force: whatever the gate says, which is recorded.
        fence: called immediately before an entry is written; what it raises leaves the champion what it was.
        rehearse: tries the model in fresh processes.

    Raises:
        InputError: the model was changed since it was registered, or the frozen set was.
        Refused: the champion knows other categories; no version is made then, unless `force`.
        Overtaken: others were faster, again and again.
        Unavailable: the registry does not answer; what the ledger says by then stands, and the same again repairs
            MLflow.
    """
    _check_unchanged(registry.version_of(evidence.model_uri, settings.model_name), evidence)
    ledger = Store.here().ledger(settings.model_name, settings.alias)
    before = ledger.head()
    if evidence.frozen_uri and not _is(before, evidence):
        check_frozen(evidence.frozen_uri, evidence.val_fingerprint)
    if not force and (refusal := other_categories(settings, categories_of(evidence.model_uri))):
        raise Refused(refusal)
    repair(ledger, settings)  # first: where MLflow was lost, the champions have the numbers that the ledger knows
    tags = version_tags(evidence)
    version = registry.create_version(evidence.model_uri, settings.model_name, evidence.mlflow_run_id, tags)
    registry.set_tags(version, tags)
    registry.describe(version, _description(version, evidence))
    if before is None:
        repair(begun_ledger(settings), settings)
    gate = _Gate(settings, evidence, f"version {version.number}", ledger, rehearse)
    findings: Findings | None = None

    def decide(head: LedgerEntry | None) -> LedgerEntry | None:
        nonlocal findings
        findings = None
        if _is(head, evidence):
            return None
        findings = gate.judge(head)
        if findings.verdict != "PROMOTE" and not force:
            return None
        fence()
        return _entry(settings, evidence, version, head, findings, why, force)

    entry = ledger.advance(decide)
    if findings and not entry:  # held
        reason = _held(settings, f"version {version.number}", findings, ledger.head())
        registry.set_tags(version, mirror.verdict_tags("held", reason, findings.to_json()))
        return Decision(version=version, is_champion=False, reason=reason, entry=None, findings=findings)
    mirror.reconcile(ledger, settings.model_name, settings.alias)
    head = entry or ledger.head()
    assert head is not None
    if not _is(head, evidence):  # replaced since the decision
        reason = f"{settings.alias} is version {head.version} in the meantime: {head.why}"
        return Decision(version=version, is_champion=False, reason=reason, entry=None, findings=findings)
    return Decision(version=version, is_champion=True, reason=head.why, entry=head, findings=findings)


def begun_ledger(settings: RegisterConfig) -> Ledger:
    """The ledger of a model and its alias; its first entry is the version that holds the alias already, if one does."""
    ledger = Store.here().ledger(settings.model_name, settings.alias)
    if ledger.head() is None and (entry := mirror.adopt(settings.model_name, settings.alias)):
        try:
            adopted = ledger.append(entry, None)
        except Overtaken:
            return ledger
        say(settings, f"entry {adopted.number} of the ledger is version {entry.version}, which held {settings.alias}")
    return ledger


def repair(ledger: Ledger, settings: RegisterConfig) -> list[str]:
    """Let MLflow say what the ledger says, and say what differed, which is returned."""
    different = mirror.differences(ledger, settings.model_name, settings.alias)
    for words in different:
        say(settings, f"repairing: {words}")
    if different:
        mirror.reconcile(ledger, settings.model_name, settings.alias)
    return different


def version_tags(evidence: Evidence) -> dict[str, str]:
    """What a version says of its model: figures, data, report and hash."""
    return {
        **{name: f"{value:.4f}" for name, value in evidence.metrics.items()},
        "data_fingerprint": evidence.data_fingerprint,
        "val_fingerprint": evidence.val_fingerprint,
        "report_uri": evidence.report_uri,
        registry.MODEL_SHA256: evidence.model_sha256,
    }


def update_figures(version: ModelVersion, evidence: Evidence) -> None:
    """Replace the figures of a version by others of its model, on other validation data.

    Raises:
        InputError: the model was changed since it was registered.
    """
    _check_unchanged(version, evidence)
    registry.set_tags(version, version_tags(evidence))


def say(settings: RegisterConfig, message: str) -> None:
    """A line on stderr."""
    print(f"ledger {settings.model_name}: {message}", file=sys.stderr)


def _description(version: ModelVersion, evidence: Evidence) -> str:
    counts, categories = evidence.counts, evidence.categories
    facts = {
        "run": evidence.run_id,
        "model": f"{evidence.model_uri}, SHA-256 {evidence.model_sha256}",
        "report": evidence.report_uri,
        "validation data": evidence.val_fingerprint,
        "lineage": f"python -m jobs lineage {version.uri}",
    }
    per_class = counts.quality(categories).rows() if counts and categories else []
    return version_description(uri=version.uri, metrics=evidence.metrics, per_class=per_class, facts=facts)


class _Gate:
    """What the gate needs to know of a model, asked for once, and of whoever is champion."""

    def __init__(
        self, settings: RegisterConfig, evidence: Evidence, name: str, ledger: Ledger, rehearse: Rehearse
    ) -> None:
        self.settings, self.evidence, self.name, self.ledger = settings, evidence, name, ledger
        self.notes: list[str] = []
        frozen = evidence.frozen_uri
        if frozen is None:
            self.notes.append("the frozen images are not in this store: they were not checked")
        self.moved = self._moved(frozen)
        images = golden_images(frozen) if frozen else []

        @cache
        def rehearsed(champion_uri: str | None) -> Rehearsal:
            return rehearse(evidence.model_uri, champion_uri, images)

        self.rehearsed = rehearsed

    def judge(self, head: LedgerEntry | None) -> Findings:
        champion = None if head is None else self._champion(head)
        return judge(
            self.settings,
            self.evidence,
            champion,
            name=self.name,
            rehearsal=self.rehearsed(head.model_uri if head else None),
            moved=self.moved,
            undone=rolled_back(self.ledger.entries()).get(self.evidence.model_sha256),
            notes=self.notes,
        )

    def _champion(self, head: LedgerEntry) -> Incumbent:
        name = f"version {head.version}"
        try:
            return Incumbent(name=name, evidence=champion_evidence(head, self.evidence.val_fingerprint))
        except InputError as error:
            return Incumbent(name=name, evidence=None, problem=error.problems[0])

    def _moved(self, frozen: str | None) -> list[str]:
        trained = self.evidence.origin.prepared_uri
        if frozen is None:
            return []
        if not trained or not storage.exists(PreparedFolder(trained).manifest_uri):
            self.notes.append("its training data are not known, or not in this store: they were not compared")
            return []
        return moved_into_training(frozen, trained, self.settings.near_images == "refuse")


def _entry(
    settings: RegisterConfig,
    evidence: Evidence,
    version: ModelVersion,
    head: LedgerEntry | None,
    findings: Findings,
    why: str,
    force: bool,
) -> LedgerEntry:
    """The entry that makes a version champion after `head`."""
    number, alias, origin = version.number, settings.alias, evidence.origin
    reason = f"{alias} {'moves to' if head else 'is'} version {number}{':' if head else ' with'} {findings.reason}"
    is_forced = force and findings.verdict != "PROMOTE"
    if is_forced:
        reason = f"{alias} moves to version {number} by force: {why} (the gate: {findings.verdict}: {findings.reason})"
    elif why:
        reason = f"{reason} ({why})"
    return LedgerEntry(
        action="force" if is_forced else "promote",
        model_uri=evidence.model_uri,
        model_sha256=evidence.model_sha256,
        version=number,
        why=reason,
        run_id=evidence.run_id,
        mlflow_run_id=evidence.mlflow_run_id,
        report_uri=evidence.report_uri,
        val_fingerprint=evidence.val_fingerprint,
        data_fingerprint=origin.data_fingerprint or evidence.data_fingerprint,
        code_version=", ".join(origin.code),
        verdict=findings.verdict,
        figures=dict(evidence.metrics),
        gate=findings.to_json(),
    )


def _is(head: LedgerEntry | None, evidence: Evidence) -> bool:
    """Whether the head is this very model, not another folder of the same content."""
    this = (evidence.model_uri, evidence.model_sha256)
    return head is not None and (head.model_uri, head.model_sha256) == this


def _held(settings: RegisterConfig, name: str, findings: Findings, head: LedgerEntry | None) -> str:
    if head is None:
        return f"nobody holds {settings.alias}; {name} does not receive it: {findings.reason}"
    is_measured = findings.reason.startswith("PQ")
    words = f"{name}{' has' if is_measured else ':'} {findings.reason}"
    return f"{settings.alias} stays with version {head.version}: {words}"


def _check_unchanged(version: ModelVersion | None, evidence: Evidence) -> None:
    before = version.tags.get(registry.MODEL_SHA256) if version else None
    if version and before not in (None, evidence.model_sha256):
        raise InputError(
            f"{evidence.model_uri}: its content is not what it was when it became version {version.number} of "
            f"{version.name}; restore it, or train another run"
        )
