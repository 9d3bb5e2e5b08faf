"""The gate before the alias: may a model replace the champion? Decided on plain values, with reasons in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aunet.categories import Categories, difference
from aunet.evaluation.comparison import Comparison, compare
from aunet.evaluation.outcomes import ImageCounts
from pipelines.measuring.gating.evidence import Evidence
from pipelines.measuring.gating.rehearsal import Rehearsal
from pipelines.settings.run_config import RegisterConfig, to_json
from pipelines.store.ledger import LedgerEntry

GateVerdict = Literal["PROMOTE", "HOLD", "UNDECIDED"]
LEVEL = 0.95
"""Of the interval of PQ; and of those of all classes and groups together."""
MAX_NAMED = 10
"""Frozen images, or classes, that the reasons name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the gate decided, and all that it looked at."""

    verdict: GateVerdict
    reasons: tuple[str, ...]
    """What speaks against the model, each with what a person can do; of PROMOTE, what speaks for it."""
    comparison: Comparison | None
    """With the champion; None: there is none, or they cannot be compared."""
    rehearsal: Rehearsal | None
    settings: RegisterConfig
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why."""

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "comparison": self.comparison.to_json() if self.comparison else None,
            "rehearsal": self.rehearsal.to_json() if self.rehearsal else None,
            "settings": to_json(self.settings),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Incumbent:
    """The model that is to be replaced."""

    name: str
    """In words: `version 3`."""
    evidence: Evidence | None
    """None: it was not measured on the same data."""
    problem: str = ""
    """Why it was not."""


def judge(
    settings: RegisterConfig,
    ours: Evidence,
    champion: Incumbent | None,
    *,
    name: str,
    rehearsal: Rehearsal | None,
    moved: Sequence[str] = (),
    undone: LedgerEntry | None = None,
    notes: Sequence[str] = (),
) -> Findings:
    """Decide whether a model may replace the champion.

    Args:
        champion: None: there is none; then the model's own checks decide.
        name: what the model is called in words: `version 4`.
        rehearsal: of the model; None: it was not tried.
        moved: frozen images that are in its training data, in words.
        undone: the rollback that has left this very model.
        notes: what could not be looked at, and why.
    """
    holds = list(_own_problems(settings, rehearsal))
    if undone:
        holds.append(
            f"{name} was rolled back from by {undone.who} at {undone.when} ({undone.why}); `promote` with --force and "
            "--why brings it back"
        )
    if moved:
        more = f", and {len(moved) - MAX_NAMED} more" if len(moved) > MAX_NAMED else ""
        cure = "take them out of the training data and train again, or freeze anew"
        holds.append(f"{'; '.join(moved[:MAX_NAMED])}{more}; {cure}")
    comparison = None
    if champion is None:
        facts = [f"PQ {ours.metrics['PQ']:.2f}; nobody held it before"]
    else:
        comparison, facts, against = _compare(settings, ours, champion)
        notes = [*notes, *_formats(ours, champion)]
        holds = [*against, *holds]
    is_open = comparison is not None and comparison.verdict == "undecided"
    if rehearsal and rehearsal.not_timed:
        notes = [*notes, rehearsal.not_timed]
    verdict: GateVerdict = "HOLD" if holds else "UNDECIDED" if is_open else "PROMOTE"
    return Findings(
        verdict=verdict,
        reasons=(*facts, *holds),
        comparison=comparison,
        rehearsal=rehearsal,
        settings=settings,
        notes=tuple(notes),
    )


def _own_problems(settings: RegisterConfig, rehearsal: Rehearsal | None) -> Iterator[str]:
    """What speaks against a model when it is used."""
    if rehearsal is None:
        return
    if rehearsal.problem:
        yield f"{rehearsal.problem}; run `verify` on its folder, or train again"
        return
    if rehearsal.slowdown is not None and rehearsal.slowdown > settings.max_slowdown:
        yield (
            f"it needs {rehearsal.slowdown:.2f} times as long as the champion ({rehearsal.ms:.0f} and "
            f"{rehearsal.their_ms:.0f} ms per image on the CPU), over register.max_slowdown = {settings.max_slowdown:g}"
        )
    if settings.max_size_mb is not None and rehearsal.size_mb > settings.max_size_mb:
        yield f"it has {rehearsal.size_mb:.1f} MB, over register.max_size_mb = {settings.max_size_mb:g}"


def _formats(ours: Evidence, champion: Incumbent) -> Iterator[str]:
    """Whether the two were measured in different number formats, which alone moves figures a little."""
    mine, theirs = (evidence.number_formats if evidence else () for evidence in (ours, champion.evidence))
    if mine and theirs and mine != theirs:
        yield (
            f"measured in {' and '.join(mine)}, {champion.name} in {' and '.join(theirs)}: rounding alone may move PQ "
            "a little; `train.precision` fixes the format"
        )


def _compare(
    settings: RegisterConfig, ours: Evidence, champion: Incumbent
) -> tuple[Comparison | None, list[str], list[str]]:
    """The comparison with the champion, what it says, and what of it speaks against the model."""
    theirs = champion.evidence
    if theirs is None:
        return None, [], [champion.problem]
    line = f"PQ {ours.metrics['PQ']:.2f} against {champion.name}'s {theirs.metrics['PQ']:.2f}"
    for evidence, whose in ((ours, "it"), (theirs, champion.name)):
        if evidence.counts is None or evidence.categories is None:
            again = f"run `evaluate` with --run {evidence.model_uri.rpartition('/')[0]} again"
            return None, [line], [f"{whose} was measured without the outcome of every segment; {again}"]
    assert ours.counts and theirs.counts and ours.categories and theirs.categories
    if words := difference(ours.categories.entries, theirs.categories.entries):
        return None, [line], [f"the models have different categories ({words}); freeze anew, or use another model name"]
    comparison = compare(ours.counts, theirs.counts, ours.categories, level=LEVEL, margin=settings.margin)
    pq, images = comparison.PQ, comparison.images
    spans = f"{pq.difference:+.2f} [{pq.low:+.2f}, {pq.high:+.2f}] on {images} images with margin {settings.margin:g}"
    facts, against = [f"{line}, {spans}"], []
    if comparison.verdict == "equal":
        against.append("both are equal: the same counts in every image")
    elif comparison.verdict == "worse":
        against.append("surely not better by the margin" if settings.margin else "surely worse")
    elif comparison.verdict == "undecided":
        more = comparison.more_images
        cure = "" if more is None else f": about {more} more frozen image{'s' * (more != 1)} would decide"
        facts.append(f"undecided{cure}")
    return comparison, facts, [*against, *_collapses(settings, ours.counts, theirs.counts, ours.categories)]


def _collapses(
    settings: RegisterConfig, ours: ImageCounts, theirs: ImageCounts, categories: Categories
) -> Iterator[str]:
    """Groups and classes that are surely worse by more than is accepted, whatever PQ is.

    The intervals are as wide as it takes for all of them together to have `LEVEL`: of two equal models, with whatever
    number of classes, one in twenty at most is held for this.
    """
    strict = compare(ours, theirs, categories, level=1 - (1 - LEVEL) / (len(categories) + 2))
    for name, group in (("PQ_th", strict.PQ_th), ("PQ_st", strict.PQ_st)):
        if group.high < -settings.max_drop:
            yield f"{name} falls by {-group.difference:.1f} [{group}], over register.max_drop = {settings.max_drop:g}"
    instances = ours.tp.sum(0) + ours.fn.sum(0)
    index = {category.id: n for n, category in enumerate(categories.entries)}
    fallen = [
        f"{category.name} by {-change.difference:.1f} [{change}, {instances[index[category.id]]} instances]"
        for category, change in strict.per_class
        if change.high < -settings.max_class_drop and instances[index[category.id]] >= settings.min_instances
    ]
    if fallen:
        names = ", ".join(fallen[:MAX_NAMED]) + (", …" if len(fallen) > MAX_NAMED else "")
        yield f"classes fall: {names}; over register.max_class_drop = {settings.max_class_drop:g}"
