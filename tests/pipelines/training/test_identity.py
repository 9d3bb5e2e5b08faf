"""What names a run: all that changes the weights, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, TrainConfig
from pipelines.store.artifacts import PreparedData
from pipelines.training.identity import EVALUATION, OPERATION, run_id

PREPARED = PreparedData(uri="u", fingerprint="f", num_images={"train": 4, "val": 2})


def config(norm: str = "gn", **train: Any) -> RunConfig:
    changes = {"model.backbone.norm": norm, "train.num_workers": 2, "train.batch_size": 16}
    return override(presets.shapes_smoke(), changes | {f"train.{name}": value for name, value in train.items()})


def name(norm: str = "gn", **train: Any) -> str:
    return run_id(config(norm, **train), PREPARED)


def test_workers_that_share_the_same_micro_batches_make_the_same_run() -> None:
    four = name(num_workers=4)
    assert four == name(num_workers=2, micro_batch_size=4) == name(num_workers=[1, 4], micro_batch_size=4)
    assert four != name(num_workers=2)
    assert name("bn", num_workers=4) != name("bn", num_workers=2, micro_batch_size=4)


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint_every": 3},
        {"checkpoint_minutes": 1.0},
        {"keep_last": 5},
        {"keep_every": 2},
        {"max_failures": 9},
        {"hang_seconds": 30.0},
        {"when_running": "refuse"},
        {"profile": [0, 2]},
        {"evaluate_every": 2, "validate": "beside"},
        {"evaluate_every": 2, "val_images": 3},
    ],
)
def test_how_a_run_is_run_is_no_part_of_its_name(change: dict[str, Any]) -> None:
    assert name(**change) == name()


@pytest.mark.parametrize(
    "change", [{"lr": 0.5}, {"seed": 1}, {"epochs": 3}, {"ema": 0.5}, {"batch_size": 8}, {"precision": "fp32"}]
)
def test_what_changes_the_weights_changes_the_name(change: dict[str, Any]) -> None:
    assert name(**change) != name()


def test_of_rate_and_base_batch_the_product_counts() -> None:
    assert name(lr=0.5) == name(lr=0.5, base_batch_size=16) == name(lr=0.25, base_batch_size=8)
    assert name(lr=0.5) != name(lr=0.5, base_batch_size=8)


def test_evaluations_count_where_the_end_or_the_release_go_by_them() -> None:
    options: list[dict[str, Any]] = [{"patience": 2}, {"release": "best"}]
    for more in options:
        assert name(evaluate_every=1, **more) != name(evaluate_every=2, **more) != name()


def test_the_settings_that_do_not_count_exist() -> None:
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert {*OPERATION, *EVALUATION} <= names
