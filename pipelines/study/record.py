"""What a search has proposed and seen, event by event: all that it must remember if it is killed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from aunet.config import LossWeights
from aunet.config_json import from_json
from aunet.errors import InputError, Refused, check
from aunet.ranges import AtLeastOne, Count, check_ranges
from pipelines.store import storage
from pipelines.store.stored_json import read_stored
from pipelines.study.search import RATIOS, Point, weights_of

CURE = "restore it, or delete the study's folder and run `tune` again"


@dataclass(kw_only=True)
class Trial:
    """One choice of λ1–λ4, and its results."""

    number: int
    origin: str
    """Where weights come from that were not searched for; empty: the search proposed them."""
    point: Point
    state: str = "running"
    """`running`, `finished` (trained to the end), `stopped` (fell behind at a rung) or `failed` (the loss diverged)."""
    results: dict[int, float] = field(default_factory=dict)
    """Epochs trained → PQ on the study's validation slice."""
    error: str = ""

    @property
    def weights(self) -> LossWeights:
        return weights_of(self.point)

    @property
    def last(self) -> tuple[int, float]:
        """The last result: epochs trained, PQ; (0, 0) before the first."""
        return max(self.results.items(), default=(0, 0.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Proposal:
    """An event: a new trial."""

    kind: Literal["trial"]
    number: Count
    origin: str
    point: Point

    def __post_init__(self) -> None:
        check_ranges(self, "event")
        check(self.point.keys() == set(RATIOS), "event.point", self.point, f"give {', '.join(RATIOS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """An event: a trial was measured."""

    kind: Literal["result"]
    number: Count
    epoch: AtLeastOne
    PQ: float
    state: Literal["running", "finished", "stopped", "failed"]
    error: str = ""

    def __post_init__(self) -> None:
        check_ranges(self, "event")


class SearchRecord:
    """All that a search must remember: one numbered file per event, each created exclusively and never changed.

    From these files alone searcher and scheduler are rebuilt after a kill, and of two processes
    that work on the same study one finds the next number in use.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        files = [file.path for file in storage.list_files(uri)] if storage.exists(uri) else []
        self.entries: list[dict[str, Any]] = []
        self.trials: dict[int, Trial] = {}
        for file in files:
            self._read(storage.join(uri, file))

    def propose(self, number: int, origin: str, point: Point) -> Trial:
        """Record a new trial."""
        self._append({"kind": "trial", "number": number, "origin": origin, "point": point})
        return self.trials[number]

    def result(self, number: int, epoch: int, pq: float, state: str, error: str = "") -> None:
        """Record the PQ of a trial after that many epochs, and its state from then on."""
        entry = {"kind": "result", "number": number, "epoch": epoch, "PQ": pq, "state": state}
        self._append({**entry, "error": error} if error else entry)

    def _append(self, entry: dict[str, Any]) -> None:
        uri = storage.join(self.uri, f"{len(self.entries):06d}.json")
        if not storage.create_exclusive(uri, json.dumps(entry).encode()):
            raise Refused(f"{uri} has just been written: another `tune` is working on the same study; let it finish")
        self.entries.append(entry)
        self._apply(entry)

    def _read(self, uri: str) -> None:
        """Apply an event of an earlier process.

        Raises:
            InputError: it is damaged, or of a trial that was not proposed.
        """
        entry = read_stored(uri, CURE)
        try:
            event = from_json(_Proposal if entry.get("kind") == "trial" else _Result, entry, "event")
            known = isinstance(event, _Proposal) or event.number in self.trials
            check(known, "event.number", event.number, "there is no such trial")
        except InputError as error:
            raise InputError(f"{uri}: {problem}; {CURE}" for problem in error.problems) from None
        self.entries.append(entry)
        self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "trial":
            trial = Trial(number=entry["number"], origin=entry["origin"], point=entry["point"])
            self.trials[trial.number] = trial
            return
        trial = self.trials[entry["number"]]
        trial.results[entry["epoch"]] = entry["PQ"]
        trial.state, trial.error = entry["state"], entry.get("error", "")


def best_of(trials: Iterable[Trial]) -> Trial:
    """The trial with the highest PQ among those that were trained longest.

    Raises:
        InputError: the loss of every trial diverged.
    """
    trials = list(trials)
    if all(trial.state == "failed" for trial in trials):
        raise InputError(f"the loss of all {len(trials)} trials diverged ({trials[0].error}); use a lower --train.lr")
    return max((trial for trial in trials if trial.state != "failed"), key=lambda trial: trial.last)
