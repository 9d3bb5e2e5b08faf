"""What is probably not meant about a training is told before it begins."""

from __future__ import annotations

from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.presets import PRESETS, camvid_small, coco_r50
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.training.advice import advice, foreign_name


def told(images: int, **changes: Any) -> list[str]:
    return list(advice(override(camvid_small(), {f"train.{name}": value for name, value in changes.items()}), images))


def test_a_warm_up_that_never_ends_is_told() -> None:
    """30 photos, 24 of them to train on: 75 steps, all of them below 100 of warm-up."""
    (line,) = told(24)
    assert line.startswith(
        "train.warmup_steps = 100: the run has 75 steps, so the learning rate never reaches train.lr; "
    )
    assert "--train.warmup_steps 7," in line
    assert told(24, warmup_steps=7) == []


def test_a_long_warm_up_is_told() -> None:
    (line,) = told(80)
    assert "100: 40% of the run's 250 steps; use --train.warmup_steps 25, or more epochs" in line
    assert told(100) == [] and told(32, warmup_steps=33) == [] and len(told(32, warmup_steps=34)) == 1
    assert told(0) == [], "nothing is known of the data"


def test_no_preset_warns_on_its_own_data() -> None:
    assert list(advice(camvid_small(), 367)) == list(advice(coco_r50(), 118_287)) == []
    assert list(advice(PRESETS["shapes_smoke"](), 512)) == []


def broken() -> RunConfig:
    raise InputError("preset_broken.py: SyntaxError")


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({}, False),
        ({"train.epochs": 3, "data.rows_per_shard": 8}, False),
        ({"data.root": "my_data"}, True),
        ({"data.root": "my_data", "register.model_name": "aunet-mine"}, False),
        ({"data.train.images": "elsewhere"}, True),
        ({"data.shapes": {}}, True),
    ],
)
def test_a_presets_name_for_other_data_is_told(changes: dict[str, Any], warns: bool) -> None:
    lines = list(foreign_name(override(camvid_small(), changes), PRESETS))
    assert len(lines) == warns
    assert all("'aunet-camvid'" in line and "--register.model_name NAME" in line for line in lines)
    presets = {**PRESETS, "broken": broken}
    renamed = override(camvid_small(), {**changes, "name": "my_streets"})
    assert list(foreign_name(renamed, presets)) == lines, "--name does not make the name in the registry another"
    assert list(foreign_name(renamed, {})) == []
