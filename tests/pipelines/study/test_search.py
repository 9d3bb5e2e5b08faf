"""The space of λ1–λ4, what trials train and are measured on, and how many fit on a cluster."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from aunet.config import LossWeights
from aunet.errors import Refused
from pipelines import presets
from pipelines.data.manifest import Manifest, ShardInfo, SplitInfo
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import PreparedFolder
from pipelines.study.search import (
    CITYSCAPES,
    COCO,
    EQUAL,
    RATIOS,
    SCALE,
    concurrency,
    known_points,
    point_of,
    study_id,
    trial_config,
    validation_slice,
    weights_of,
)
from tests.tiny import CATEGORIES

ratios = st.floats(-math.log(30), math.log(30))
points = st.fixed_dictionaries(dict.fromkeys(RATIOS, ratios))


def changed(**changes: object) -> RunConfig:
    return override(presets.shapes_smoke(), {name.replace("__", "."): value for name, value in changes.items()})


def test_by_hand() -> None:
    assert weights_of({"box": 0.0, "mask": 0.0, "semantic": math.log(0.3)}) == COCO
    assert set(dataclasses.astuple(weights_of({"box": 0.0, "mask": 0.0, "semantic": 0.0}))) == {0.740083}
    assert point_of(CITYSCAPES, 30) == {"box": math.log(0.75), "mask": 0.0, "semantic": 0.0}


@given(points)
def test_a_point_comes_back_and_all_have_one_scale(point: dict[str, float]) -> None:
    weights = weights_of(point)
    assert math.prod(dataclasses.astuple(weights)) ** 0.25 == pytest.approx(SCALE, rel=1e-5)
    assert point_of(weights, 31) == pytest.approx(point, abs=1e-5)


@given(points, st.floats(1e-3, 1e3))
def test_the_common_scale_makes_no_other_point(point: dict[str, float], factor: float) -> None:
    scaled = LossWeights(**{name: factor * value for name, value in dataclasses.asdict(weights_of(point)).items()})
    assert point_of(scaled, 31) == pytest.approx(point, abs=1e-5)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (LossWeights(semantic=0.01), {"box": 0.0, "mask": 0.0, "semantic": -math.log(30)}),
        (LossWeights(semantic=0.0), {"box": 0.0, "mask": 0.0, "semantic": -math.log(30)}),
        (LossWeights(rpn=0.0), {"box": math.log(30), "mask": math.log(30), "semantic": math.log(30)}),
    ],
    ids=["beyond the span", "switched off", "no RPN loss"],
)
def test_the_span_holds(weights: LossWeights, expected: dict[str, float]) -> None:
    assert point_of(weights, 30) == pytest.approx(expected)


def test_known_points_come_once() -> None:
    origins = ["the preset", "paper, COCO", "paper, Cityscapes", "equal"]
    named = known_points(LossWeights(semantic=0.5), 30)
    assert [origin for origin, _ in named] == origins
    assert weights_of(named[1][1]) == COCO
    for same in (COCO, CITYSCAPES, EQUAL, LossWeights(rpn=7.0, box=7.0, mask=7.0, semantic=7.0)):
        assert len(known_points(same, 30)) == 3
        assert known_points(same, 30)[0] == ("the preset", point_of(same, 30))


def test_trials_reach_a_rung_alike_however_long_they_go_on() -> None:
    from pipelines.training.optimization import learning_rate

    short, long = (trial_config(changed(tune__epochs=epochs), COCO).train for epochs in (3, 12))
    for step in (0, 50, 99, 100, 119):
        assert learning_rate(short, step, 120) == learning_rate(long, step, 480)
    assert learning_rate(long, 479, 480) == long.lr


def test_a_trial_is_the_preset_with_other_weights() -> None:
    config = changed(
        tune__epochs=9, tune__grace_epochs=2, tune__val_images=7, tune__num_workers=4, train__validate="beside"
    )
    trial = trial_config(config, CITYSCAPES, "study-1", seed=5)
    assert (trial.loss, trial.version, trial.train.seed, trial.train.epochs) == (CITYSCAPES, "study-1", 5, 9)
    assert (trial.train.evaluate_every, trial.train.val_images, trial.train.num_workers) == (2, 7, 4)
    assert (trial.data, trial.model, trial.fusion) == (config.data, config.model, config.fusion)
    assert trial.train.lr == config.train.lr and trial.train.validate == "inline"
    patient = trial_config(changed(train__evaluate_every=1, train__patience=2, train__release="best"), COCO).train
    assert (patient.patience, patient.release) == (0, "last")
    assert trial_config(config, COCO).train.seed == config.train.seed


def test_what_changes_the_trials_changes_the_study() -> None:
    prepared = PreparedData(uri="x", fingerprint="y", num_images={})
    name = study_id(changed(), prepared)
    for same in ({"tune__max_concurrent": 1}, {"tune__confirm_seeds": 0}, {"train__epochs": 99}):
        assert study_id(changed(**same), prepared) == name
    for other in ({"tune__span": 9.0}, {"tune__epochs": 9}, {"loss__semantic": 0.1}, {"fusion__stuff_area": 9}):
        assert study_id(changed(**other), prepared) != name
    assert study_id(changed(), dataclasses.replace(prepared, fingerprint="z")) != name


def test_the_validation_slice_has_a_name(tmp_path: Path) -> None:
    def prepared(name: str, sha256: str) -> str:
        shard = ShardInfo(name="val-0", num_rows=20, num_bytes=1, sha256=sha256 * 64)
        split = SplitInfo(
            shards=(shard,), index=shard, rows_sha256=sha256 * 64, num_images=20, num_segments={}, max_segments=1
        )
        manifest = Manifest(categories=CATEGORIES, splits={"train": split, "val": split}, source_fingerprint="s")
        manifest_path = Path(PreparedFolder(str(tmp_path / name)).manifest_uri)
        manifest_path.parent.mkdir()
        manifest_path.write_bytes(manifest.to_bytes())
        return str(tmp_path / name)

    first, same, other = prepared("a", "1"), prepared("b", "1"), prepared("c", "2")
    assert validation_slice(first, 8) == validation_slice(same, 8)
    assert validation_slice(first, 8)[1] == 8
    assert validation_slice(first, 0) == validation_slice(first, 20) == (validation_slice(first, 99)[0], 20)
    names = {validation_slice(first, 8)[0], validation_slice(first, 9)[0], validation_slice(other, 8)[0]}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("changes", "cluster", "fits"),
    [
        ({}, {"CPU": 2.0}, 2),
        ({"tune__num_workers": 2}, {"CPU": 7.0}, 3),
        ({"tune__max_concurrent": 2}, {"CPU": 7.0}, 2),
        ({"train__use_gpu": True, "tune__num_workers": 4}, {"CPU": 64.0, "GPU": 8.0}, 2),
        ({"feed__kind": "ray", "feed__workers": 2}, {"CPU": 7.0}, 2),
        ({"feed__kind": "ray", "feed__workers": 2, "train__use_gpu": True}, {"CPU": 7.0, "GPU": 8.0}, 3),
    ],
)
def test_as_many_trials_as_the_cluster_carries(changes: dict, cluster: dict, fits: int) -> None:
    assert concurrency(changed(**changes), cluster) == fits


@pytest.mark.parametrize(
    ("changes", "cluster", "message"),
    [
        ({"tune__num_workers": 4}, {"CPU": 2.0}, "tune.num_workers = 4 × 1 CPU, the cluster has 2: floor(2 / 4) = 0"),
        ({"train__use_gpu": True}, {"CPU": 64.0}, "1 × 1 GPU, the cluster has 0: floor(0 / 1) = 0"),
        (
            {"tune__max_concurrent": 4, "tune__num_workers": 2},
            {"CPU": 4.0},
            "tune.max_concurrent = 4 could wait for ever: a trial needs tune.num_workers = 2 × 1 CPU, "
            "the cluster has 4: floor(4 / 2) = 2 at a time; use --tune.max_concurrent 2",
        ),
    ],
)
def test_a_study_that_could_wait_for_ever_is_refused(changes: dict, cluster: dict, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        concurrency(changed(**changes), cluster)
    assert message in str(refusal.value)
