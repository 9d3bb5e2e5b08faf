"""The search behind Ray Tune: Optuna proposes, ASHA stops, and every step is recorded."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from pipelines.settings.run_config import TuneConfig
from pipelines.study.record import SearchRecord, Trial
from pipelines.study.search import Point


class Search:
    """Optuna proposes, ASHA stops, and the record remembers: a record that is read again gives the same search.

    Args:
        record: of the study; its entries are replayed.
        known: points to try before any search, with their origins.
        sampler: an Optuna sampler, a pure function of the finished trials and the new one's number.
        resume: numbers of recorded trials that are still to be trained.
    """

    def __init__(
        self,
        record: SearchRecord,
        settings: TuneConfig,
        known: Sequence[tuple[str, Point]],
        sampler: Any,
        resume: list[int],
    ) -> None:
        self.record, self.settings, self.known, self.resume = record, settings, known, resume
        edge = math.log(settings.span)
        points = [trial.point for trial in record.trials.values()]
        points += [point for _, point in known[len(points) :]]
        space = OptunaSearch.convert_search_space({name: tune.uniform(-edge, edge) for name in points[0]})
        self.optuna = OptunaSearch(space, metric="PQ", mode="max", points_to_evaluate=points, sampler=sampler)
        self.asha = ASHAScheduler(
            time_attr="epoch",
            metric="PQ",
            mode="max",
            max_t=settings.epochs,
            grace_period=settings.grace_epochs,
            reduction_factor=settings.reduction,
        )
        for entry in record.entries:
            if entry["kind"] == "trial":
                self._ask(entry["number"])
            else:
                self._decide(entry["number"], entry["epoch"], entry["PQ"])
                self._tell(entry["number"], entry["epoch"], entry["PQ"], entry["state"])

    def next_trial(self) -> Trial:
        """One that a kill interrupted, else a new one, recorded before anybody sees it."""
        if self.resume:
            trial = self.record.trials[self.resume.pop(0)]
            announce(trial, "resumed")
            return trial
        number = len(self.record.trials)
        origin = self.known[number][0] if number < len(self.known) else ""
        trial = self.record.propose(number, origin, self._ask(number))
        announce(trial, "started")
        return trial

    def result(self, number: int, epoch: int, pq: float, error: str = "") -> bool:
        """Record a result. Returns whether the trial must stop; a result that is recorded already changes nothing."""
        trial = self.record.trials[number]
        if epoch in trial.results or trial.state != "running":
            return False
        if error:
            state = "failed"
        elif epoch >= self.settings.epochs:
            state = "finished"
        else:
            state = "stopped" if self._decide(number, epoch, pq) else "running"
        self.record.result(number, epoch, pq, state, error)
        self._tell(number, epoch, pq, state)
        outcome = f" · {state}" if state != "running" else ""
        announce(trial, error or f"epoch {epoch} · PQ {pq:.1f}{outcome}")
        return state == "stopped"

    def _ask(self, number: int) -> Point:
        self.asha.on_trial_add(None, _named(number))  # type: ignore[arg-type]
        point = self.optuna.suggest(str(number))
        assert point is not None
        return point

    def _decide(self, number: int, epoch: int, pq: float) -> bool:
        result = {"epoch": epoch, "PQ": pq}
        return self.asha.on_trial_result(None, _named(number), result) == TrialScheduler.STOP  # type: ignore[arg-type]

    def _tell(self, number: int, epoch: int, pq: float, state: str) -> None:
        self.optuna.on_trial_result(str(number), {"PQ": pq, "training_iteration": epoch})
        if state != "running":  # without a final figure Optuna counts the trial as pruned where it stopped
            self.optuna.on_trial_complete(str(number), None if state == "stopped" else {"PQ": pq})


class RecordedSearcher(Searcher):
    """Gives the search's trials to Ray Tune."""

    def __init__(self, search: Search) -> None:
        super().__init__(metric="PQ", mode="max")
        self.search = search

    def suggest(self, trial_id: str) -> dict[str, Any]:
        trial = self.search.next_trial()
        return {"number": trial.number, "point": trial.point}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the last result is already recorded."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the record is what a search is rebuilt from."""


@ray.remote(num_cpus=0)
class StoppedTrials:
    """Numbers of the trials that must end, where their processes can see them."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def add(self, number: int) -> None:
        self.numbers.add(number)

    def has(self, number: int) -> bool:
        return number in self.numbers


class RecordedScheduler(FIFOScheduler):
    """Shows Ray Tune's results to the search.

    It never lets Tune stop a trial: Tune would kill its process, the training workers' resources would stay reserved
    where Ray has no dashboard, and the next trial would wait for them for ever. Instead the trial ends by itself.
    """

    def __init__(self, search: Search, stopped: Any) -> None:
        super().__init__()
        self.search, self.stopped = search, stopped

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "PQ" in result:
            number, error = trial.config["number"], result.get("error", "")
            if self.search.result(number, result["epoch"], result["PQ"], error):
                ray.get(self.stopped.add.remote(number))
        return TrialScheduler.CONTINUE


def announce(trial: Trial, message: str) -> None:
    """One line about a trial, for people."""
    weights = " ".join(f"{value:.3g}" for value in asdict(trial.weights).values())
    origin = f" ({trial.origin})" if trial.origin else ""
    print(f"trial {trial.number} · λ {weights}{origin} · {message}", file=sys.stderr, flush=True)


def _named(number: int) -> SimpleNamespace:
    return SimpleNamespace(trial_id=str(number))
