"""What a proof has shown: the figures that scripts read, and what people want to see behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import mean
from typing import Any

from pipelines.store.artifacts import VerbResult
from pipelines.training.proving.audit import Computed
from pipelines.training.proving.campaign import Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultRecord:
    """What a fault cost."""

    kind: str
    step: int
    done: str
    survived: bool
    resumed_from: int
    """Step, from 0; -1: the run never went on, or did not stop."""
    recomputed: int
    """Steps that were begun before the fault and again after it."""
    restart_seconds: float
    """Until the next step began."""
    recompute_seconds: float
    """From then until the run was where it had been."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindTotal:
    """All faults of a kind together."""

    faults: int
    survived: int
    recomputed: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate(VerbResult):
    """Whether a run that was disturbed ended as one that was not, and what the disturbances cost."""

    faults: int
    requested: int
    """Faults that were to be injected."""
    survived: int
    identical: bool
    """Whether the final states are the same, to the bit."""
    lost: int
    """Images of the plan that never reached the network, by step."""
    doubled: int
    """Images that reached it once more than planned."""
    steps_recomputed: int
    goodput: float
    """Share of the disturbed run's time that went into steps that count, 0 … 1."""
    by_kind: Mapping[str, KindTotal]
    lost_seconds: Mapping[str, float]
    """By cause."""
    hashes: Mapping[str, tuple[str, str]]
    """SHA-256 of every component of the final state: undisturbed, disturbed."""
    earlier_differs: bool
    """Whether an earlier checkpoint of the undisturbed run has other weights: the comparison can fail."""
    deviation: float
    """The largest difference between two numbers of the final states."""
    repeat_deviation: float | None = None
    """The same between two undisturbed runs, where the device computes otherwise each time; None: not needed."""
    is_protected: bool = True
    error: str = ""
    """Why the disturbed run did not end; empty: it did."""
    left_out: tuple[str, ...] = ()
    """Kinds of faults that this store does not allow."""
    preset: str
    steps: int
    workers: int | tuple[int, int]
    seed: int
    seconds: tuple[float, float]
    """Of the undisturbed and the disturbed run."""
    machine: str
    date: str
    records: tuple[FaultRecord, ...] = field(default=())
    uri: str = ""
    html_uri: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether the final states are the same, or differ no more than two undisturbed runs do."""
        within = self.repeat_deviation is not None and self.deviation <= 4 * self.repeat_deviation
        return self.identical or within

    @property
    def holds(self) -> bool:
        """Whether nothing was lost."""
        return (
            self.faults == self.survived == self.requested
            and self.is_equal
            and self.earlier_differs
            and not (self.lost or self.doubled or self.error)
        )

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and `holds`."""
        return {**asdict(self), "holds": self.holds}

    @property
    def exit_code(self) -> int:
        """0 where the certificate holds, else 3."""
        return 0 if self.holds else 3


def records_of(faults: Sequence[Fault], entries: Sequence[Computed], is_complete: bool) -> list[FaultRecord]:
    """What each fault cost, by the times at which steps began.

    Args:
        entries: of the whole disturbed run.
        is_complete: whether it came to its end.
    """
    begun: dict[str, dict[int, float]] = {}
    for entry in entries:
        begun.setdefault(entry.attempt, {}).setdefault(entry.step, entry.modified / 1e9)
    order = sorted(begun, key=lambda attempt: min(begun[attempt].values()))
    following = dict(pairwise(order))
    records = []
    for number, fault in enumerate(faults):
        is_survived = fault.right and (number + 1 < len(faults) or is_complete)
        reached = max(begun.get(fault.attempt, {fault.step: 0.0}))
        after = begun.get(following.get(fault.attempt, ""), {})
        goes_on = fault.kind == "outage" or not after
        first = -1 if goes_on else min(after)
        again = [] if goes_on else [step for step in after if step <= reached]
        until = max((at for step, at in after.items() if step <= reached + 1), default=0.0)
        records.append(
            FaultRecord(
                kind=fault.kind,
                step=fault.step,
                done=fault.done,
                survived=is_survived,
                resumed_from=first,
                recomputed=len(again),
                restart_seconds=0.0 if goes_on else after[first] - fault.at,
                recompute_seconds=until - after[first] if again else 0.0,
            )
        )
    return records


def totals_of(records: Sequence[FaultRecord]) -> dict[str, KindTotal]:
    """The records added up by kind."""
    kinds = dict.fromkeys(record.kind for record in records)
    of_kind = {kind: [record for record in records if record.kind == kind] for kind in kinds}
    return {
        kind: KindTotal(
            faults=len(own),
            survived=sum(record.survived for record in own),
            recomputed=sum(record.recomputed for record in own),
            seconds=sum(record.restart_seconds + record.recompute_seconds for record in own),
        )
        for kind, own in of_kind.items()
    }


def step_seconds(entries: Sequence[Computed]) -> float:
    """Mean time from the beginning of a step to that of the next one, within attempts; 0: unknown."""
    times: dict[tuple[str, int], float] = {}
    for entry in entries:
        times.setdefault((entry.attempt, entry.step), entry.modified / 1e9)
    gaps = [times[a, s + 1] - at for (a, s), at in times.items() if (a, s + 1) in times]
    return mean(gaps) if gaps else 0.0


def num_recomputed(entries: Sequence[Computed]) -> int:
    """Steps that were begun again by a later attempt."""
    begun = {(entry.attempt, entry.step) for entry in entries}
    return len(begun) - len({step for _, step in begun})


def goodput_of(steps: int, undisturbed: Sequence[Computed], seconds: float) -> float:
    """Share of a run's time that its steps take when nothing disturbs them."""
    return min(1.0, steps * step_seconds(undisturbed) / seconds) if seconds else 0.0
