"""Configurations: JSON and back, dotted names, and every wrong value named with its cure."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aunet.config import AttentionConfig, AugmentConfig, FusionConfig, LossWeights
from aunet.errors import InputError
from pipelines import presets
from pipelines.settings.overrides import differences, flatten, override
from pipelines.settings.run_config import (
    DataConfig,
    RunConfig,
    ShapesConfig,
    TrainConfig,
    fingerprint,
    from_json,
    to_json,
)


@pytest.fixture
def config() -> RunConfig:
    return presets.shapes_smoke()


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    preset = presets.PRESETS[name]()
    wire = json.loads(json.dumps(to_json(preset)))
    assert from_json(RunConfig, wire) == preset
    assert fingerprint(from_json(RunConfig, wire)) == fingerprint(preset)


@given(
    weights=st.tuples(*[st.floats(0, 1e6)] * 4),
    crop=st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    sides=st.lists(st.integers(32, 2048), min_size=1, max_size=5),
    relations=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=4),
    ema=st.none() | st.floats(0.1, 0.9999),
    ids=st.lists(st.integers(0, 2**40), max_size=4),
)
def test_any_valid_config_survives_json(weights, crop, sides, relations, ema, ids) -> None:
    data = DataConfig(root="here")
    config = RunConfig(
        name="any",
        data=dataclasses.replace(data, train=dataclasses.replace(data.train, image_ids=tuple(ids))),
        loss=LossWeights(**dict(zip(("rpn", "box", "mask", "semantic"), weights, strict=True))),
        augment=AugmentConfig(crop=crop, short_sides=tuple(sides)),
        fusion=FusionConfig(relations=tuple(relations)),
        train=TrainConfig(ema=ema),
    )
    assert from_json(RunConfig, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LossWeights(semantic=-0.1), "loss.semantic = -0.1: use a number at least 0"),
        (lambda: LossWeights(rpn=-1), "loss.rpn = -1"),
        (lambda: TrainConfig(lr=0), "train.lr = 0"),
        (lambda: TrainConfig(num_workers=3, batch_size=16), "train.batch_size = 16: use a multiple of"),
        (
            lambda: TrainConfig(num_workers=4, batch_size=16, micro_batch_size=3),
            "train.micro_batch_size = 3: use a divisor of the 4 images of each worker",
        ),
        (lambda: TrainConfig(micro_batch_size=0), "train.micro_batch_size = 0: use a number at least 1"),
        (lambda: TrainConfig(milestones=(0,)), "train.milestones = (0,): use numbers at least 1"),
        (lambda: TrainConfig(clip_norm=float("nan")), "train.clip_norm = nan: use a number above 0"),
        (lambda: TrainConfig(momentum=1.0), "train.momentum = 1.0: use a number at least 0 and below 1"),
        (lambda: TrainConfig(ema=1.0), "train.ema = 1.0"),
        (lambda: DataConfig(), "data.root = ''"),
        (lambda: ShapesConfig(height=8), "data.shapes.height = 8: use a number at least 64"),
        (lambda: FusionConfig(overlap_threshold=50), "fusion.overlap_threshold = 50: "),
        (lambda: AugmentConfig(short_sides=()), "augment.short_sides = ()"),
        (lambda: AugmentConfig(short_sides=(64, 8)), "augment.short_sides = (64, 8): use numbers at least 32"),
        (lambda: AugmentConfig(scale=(2.0, 1.0)), "augment.scale = (2.0, 1.0)"),
        (lambda: AugmentConfig(test_scales=()), "augment.test_scales = ()"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.problems[0].startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.semantc": 1.0}, "loss.semantc: no such setting; did you mean loss.semantic?"),
        ({"loss": 1.0}, "loss: no such setting"),
        ({"loss.semantic": -1.0}, "loss.semantic = -1.0"),
        ({"train.lr": "fast"}, "train.lr = 'fast': give a value of type float"),
        ({"train.lr": None}, "train.lr = None"),
        ({"train.epochs": 2.5}, "train.epochs = 2.5: give a value of type int"),
        ({"train.use_gpu": 1}, "train.use_gpu = 1: give a value of type bool"),
        ({"train.optimizer": "adam"}, "train.optimizer = 'adam': "),
        ({"augment.crop": [1]}, "augment.crop = [1]: give 2 values"),
        ({"augment.short_sides": 600}, "augment.short_sides = 600: give a list"),
    ],
)
def test_a_wrong_override_is_refused(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(config, changes)
    assert message in caught.value.problems[0]


@pytest.mark.parametrize("order", [1, -1])
def test_a_section_that_is_null_has_no_settings(config: RunConfig, order: int) -> None:
    changes = dict([("data.shapes", None), ("data.shapes.height", 64)][::order])
    if order == -1:  # the later one has replaced the section
        with pytest.raises(InputError, match=r"data\.root = ''"):
            override(config, changes)
        return
    with pytest.raises(
        InputError, match=r"^x: data\.shapes\.height = 64: data\.shapes is null or no section; drop one"
    ):
        override(config, changes, "x")


def test_an_unknown_field_is_named_among_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"config\.loss\.lambda4: no such field; there are rpn, box, mask, semantic"):
        from_json(RunConfig, {"name": "x", "data": {"root": "here"}, "loss": {"lambda4": 1.0}})


def test_overrides_change_what_they_name_and_nothing_else(config: RunConfig) -> None:
    changed = override(config, {"loss.semantic": 0.11, "data.shapes.seed": 5, "augment.crop": [64, 96]})
    differing = {name for name, value in flatten(changed).items() if flatten(config)[name] != value}
    assert differing == {"loss.semantic", "data.shapes.seed", "augment.crop"}
    assert changed.augment.crop == (64, 96)
    assert override(config, {}) == config


def test_dotted_names_reach_every_setting(config: RunConfig) -> None:
    names = flatten(config)
    assert names["model.attention.pam"] is True
    assert config.data.shapes is not None
    assert names["data.shapes.num_train"] == config.data.shapes.num_train
    assert not any(dataclasses.is_dataclass(value) for value in names.values())


def test_differences_lead_from_one_configuration_to_the_other(config: RunConfig) -> None:
    changed = override(config, {"loss.semantic": 0.11, "augment.crop": [64, 96], "version": "x"})
    assert differences(changed, config) == {"loss.semantic": 0.11, "augment.crop": [64, 96], "version": "x"}
    assert override(config, differences(changed, config)) == changed
    assert differences(config, config) == {}


def test_configurations_are_frozen(config: RunConfig) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.loss.semantic = 1.0  # type: ignore[misc]


def test_fingerprint_follows_every_setting() -> None:
    base = presets.shapes_smoke()
    prints = {fingerprint(base)}
    for name, value in flatten(base).items():
        if isinstance(value, float) and name.startswith("loss."):
            prints.add(fingerprint(override(base, {name: value + 0.25})))
    assert len(prints) == 5
    assert fingerprint(AttentionConfig()) != fingerprint(AttentionConfig(mam=False))
