"""The search behind Ray Tune, without a cluster: what it tries, what it stops, and that a kill changes nothing."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from aunet.config import LossWeights
from pipelines.settings.run_config import TuneConfig
from pipelines.study.record import SearchRecord, Trial
from pipelines.study.sampler import SeededByNumber
from pipelines.study.search import known_points
from pipelines.study.searcher import Search

SETTINGS = TuneConfig(num_trials=14, epochs=4, reduction=2, confirm_seeds=0, seed=3)
OWN = LossWeights(semantic=0.01)


def pq(trial: Trial, epoch: int) -> float:
    """Highest where λ4/λ1 = 1 and λ2/λ1 = 3."""
    point = trial.point
    return 10 * epoch - point["semantic"] ** 2 - (point["box"] - math.log(3)) ** 2 - 0.1 * point["mask"] ** 2


def search(folder: Path, settings: TuneConfig = SETTINGS) -> Search:
    record = SearchRecord(str(folder))
    resume = [number for number, trial in record.trials.items() if trial.state == "running"]
    return Search(record, settings, known_points(OWN, settings.span), SeededByNumber(settings.seed), resume)


def finish(study: Search) -> dict[int, Trial]:
    """Run trials one after the other, each from its first epoch, as a run that lost its checkpoints would."""
    while len(study.record.trials) < study.settings.num_trials or study.resume:
        trial = study.next_trial()
        for epoch in range(1, study.settings.epochs + 1):
            if study.result(trial.number, epoch, pq(trial, epoch)):
                break
    return study.record.trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "record"
    finish(search(folder))
    return folder


def test_known_settings_come_first_then_the_search(undisturbed: Path) -> None:
    trials = list(SearchRecord(str(undisturbed)).trials.values())
    known = known_points(OWN, SETTINGS.span)
    assert [(trial.origin, trial.point) for trial in trials[:4]] == known
    assert len({str(trial.point) for trial in trials}) == SETTINGS.num_trials
    edge = math.log(SETTINGS.span)
    assert all(-edge <= value <= edge for trial in trials for value in trial.point.values())
    assert not any(trial.origin for trial in trials[4:])
    assert all(len(set(trial.point.values())) == 3 for trial in trials[4:]), "the ratios are drawn independently"


def test_what_falls_behind_is_stopped(undisturbed: Path) -> None:
    trials = SearchRecord(str(undisturbed)).trials.values()
    stopped = [trial for trial in trials if trial.state == "stopped"]
    finished = [trial for trial in trials if trial.state == "finished"]
    assert 4 <= len(stopped) < len(trials) and len(finished) + len(stopped) == len(trials)
    assert all(max(trial.results) < SETTINGS.epochs for trial in stopped)
    assert all(set(trial.results) == {1, 2, 3, 4} for trial in finished)
    assert max(trial.results[1] for trial in finished) > max(trial.results[1] for trial in stopped)


def test_a_kill_at_any_moment_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    expected = SearchRecord(str(undisturbed))
    for kept in range(len(expected.entries)):
        folder = tmp_path / str(kept)
        folder.mkdir()
        for n in range(kept):
            shutil.copy(undisturbed / f"{n:06d}.json", folder)
        finish(search(folder))
        assert SearchRecord(str(folder)).entries == expected.entries, f"killed after {kept} events"


def test_another_seed_searches_elsewhere(undisturbed: Path, tmp_path: Path) -> None:
    import dataclasses

    one = SearchRecord(str(undisturbed)).trials
    other = finish(search(tmp_path / "other", dataclasses.replace(SETTINGS, seed=4)))
    assert [one[n].point == other[n].point for n in (0, 3, 4, 9)] == [True, True, False, False]


def test_a_result_counts_once(tmp_path: Path) -> None:
    study = search(tmp_path / "record")
    trial = study.next_trial()
    assert not study.result(trial.number, 1, 20.0)
    assert not study.result(trial.number, 1, 99.0)
    assert not study.result(trial.number, 4, 25.0)
    assert not study.result(trial.number, 4, 99.0)
    assert trial.results == {1: 20.0, 4: 25.0} and trial.state == "finished"
    assert len(study.record.entries) == 3


def test_a_diverged_trial_is_an_answer_too(tmp_path: Path) -> None:
    study = search(tmp_path / "record")
    trial = study.next_trial()
    study.result(trial.number, 4, 0.0, "FloatingPointError: step 7: loss nan")
    assert (trial.state, trial.error) == ("failed", "FloatingPointError: step 7: loss nan")
    again = search(tmp_path / "record")
    assert again.resume == [] and again.next_trial().number == 1
