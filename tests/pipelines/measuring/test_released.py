"""A model is measured as it is released: what `evaluate` takes, what the gate refuses, what `train` cannot change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from jobs import stages
from pipelines import evaluate as evaluation
from pipelines.evaluate import evaluate
from pipelines.measuring.gating.evidence import read_evidence
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.run_folder import RunFolder
from pipelines.train import train
from tests.nights import Nights
from tests.preparing import preprocess_here


@pytest.fixture
def nights(raw: Path, mlflow_store: Path) -> Nights:
    return Nights(raw, mlflow_store)


def trained(nights: Nights, data: str = "") -> tuple[TrainedRun, PreparedData]:
    """A run with a stuff area of its own, which remembers the fingerprint of its data, or `data`."""
    prepared = preprocess_here(nights.config)
    run = nights.train(override(nights.config, {"fusion.stuff_area": 11}), prepared)
    origin = {"kind": "origin", "step": 0, "prepared": prepared.uri, "data": data or prepared.fingerprint}
    RunFolder(run.uri).history.append([origin])
    return run, prepared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment.test_scales": [0.75, 1.0]}, r"augment.test_scales = \[0.75, 1.0\], .* released with \[1.0\]"),
        ({"augment.short_sides": [384]}, r"augment.short_sides = \[384\], .* released with \[360\]"),
        ({"augment.short_sides": [384, 360], "augment.color": 0.1}, None),
        ({"fusion.stuff_area": 12}, "fusion.stuff_area = 12, its model is released with 11"),
    ],
)
def test_the_gate_takes_what_was_measured_as_it_is_released(
    nights: Nights, changes: dict[str, Any], message: str | None
) -> None:
    run, prepared = trained(nights)
    config = override(nights.config, {"fusion.stuff_area": 11, **changes})
    uri = evaluate(config, run, prepared, measure=nights.measure).uri
    if message is None:
        assert read_evidence(uri).metrics["PQ"] == 40.0
        return
    with pytest.raises(InputError, match=message):
        read_evidence(uri)


@pytest.mark.parametrize("of_other_data", [False, True])
def test_a_named_run_is_measured_as_its_model_and_apart_on_other_data(
    of_other_data: bool, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = trained(nights, data="other" if of_other_data else "")
    used: list[RunConfig] = []

    def measure(config: RunConfig, *arguments: Any, apart: bool) -> Any:
        used.append(config)
        return evaluate(config, *arguments, apart=apart, measure=nights.measure)

    monkeypatch.setattr(stages, "preprocess", preprocess_here)
    monkeypatch.setattr(evaluation, "evaluate", measure)
    report = stages.evaluate(nights.config, run.uri)
    assert used[0].fusion.stuff_area == 11 != nights.config.fusion.stuff_area
    assert ("/reports/" in report.uri) == of_other_data
    assert RunFolder(run.uri).report().report() is None if of_other_data else read_evidence(report.uri)
    stages.evaluate(nights.config, run.uri, {"fusion.stuff_area": 12})
    assert used[1].fusion == replace(used[0].fusion, stuff_area=12)


def test_a_finished_run_does_not_change_its_fusion(nights: Nights) -> None:
    run, prepared = trained(nights)
    assert train(override(nights.config, {"fusion.stuff_area": 11}), prepared) == run
    with pytest.raises(
        InputError, match=r"fusion.stuff_area = 12: the finished run .* has a model with 11; .*--version"
    ):
        train(override(nights.config, {"fusion.stuff_area": 12}), prepared)
