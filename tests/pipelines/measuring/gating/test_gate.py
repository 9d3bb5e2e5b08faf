"""The gate: what it promotes, what it holds, what it cannot decide, and why in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.outcomes import ImageCounts
from pipelines.measuring.gating.evidence import Evidence
from pipelines.measuring.gating.gate import Findings, Incumbent, judge
from pipelines.measuring.gating.rehearsal import Rehearsal
from pipelines.settings.run_config import RegisterConfig
from tests.promotions import entry

SETTINGS = RegisterConfig()
CLASSES = Categories(tuple(Category(id=n + 1, name=f"class{n}", is_thing=n < 4) for n in range(8)))


def measured(quality: dict[int, float] | float, images: int = 100, noise: int = 0) -> Evidence:
    """A model that finds every third instance, or those with the given share by class."""
    generator, hardness = np.random.default_rng(noise), np.random.default_rng(99)
    shape = (images, len(CLASSES))
    default = quality if isinstance(quality, float) else 0.5
    shares = np.full(len(CLASSES), default)
    for number, share in (quality if isinstance(quality, dict) else {}).items():
        shares[number] = share
    instances = hardness.integers(1, 4, shape)
    difficulty = hardness.random((*shape, 3))
    tried = np.arange(3) < instances[..., None]
    hits = (tried & (0.95 * difficulty + 0.05 * generator.random((*shape, 3)) < shares[:, None])).sum(-1)
    counts = ImageCounts(
        image_ids=np.arange(images, dtype=np.int64),
        iou=0.8 * hits,
        tp=hits.astype(np.int32),
        fp=np.zeros(shape, np.int32),
        fn=(instances - hits).astype(np.int32),
    )
    return Evidence(
        model_uri="/runs/x/model",
        model_sha256="0" * 64,
        report_uri="/runs/x/report",
        mlflow_run_id="",
        prepared_uri="",
        data_fingerprint="",
        val_fingerprint="val",
        metrics={"PQ": counts.quality(CLASSES).all.pq},
        counts=counts,
        categories=CLASSES,
    )


def decide(ours: Evidence, theirs: Evidence | None, settings: RegisterConfig = SETTINGS, **options: Any) -> Findings:
    champion = theirs and Incumbent(name="version 1", evidence=theirs)
    given: dict[str, Any] = {"rehearsal": Rehearsal()} | options
    return judge(settings, ours, champion, name="version 2", **given)


def test_the_first_model_is_promoted_if_it_can_be_used() -> None:
    first = decide(measured(0.5), None)
    assert first.verdict == "PROMOTE" and "nobody held it before" in first.reason
    broken = decide(measured(0.5), None, rehearsal=Rehearsal(problem="it cannot be used in a fresh process: no file"))
    assert broken.verdict == "HOLD" and "no file; run `verify` on its folder, or train again" in broken.reason


def test_identical_models_are_equal_and_not_promoted() -> None:
    findings = decide(measured(0.5), measured(0.5))
    assert findings.verdict == "HOLD" and "both are equal: the same counts in every image" in findings.reason


def test_five_points_on_a_hundred_images_are_promoted() -> None:
    ours, theirs = measured(0.57), measured(0.50, noise=1)
    findings = decide(ours, theirs)
    gain = ours.metrics["PQ"] - theirs.metrics["PQ"]
    assert 4 < gain < 6.5 and findings.verdict == "PROMOTE"
    assert (
        f"PQ {ours.metrics['PQ']:.2f} against version 1's {theirs.metrics['PQ']:.2f}, +{gain:.2f} [+" in findings.reason
    )
    assert "on 100 images with margin 0" in findings.reason
    assert decide(theirs, ours).verdict == "HOLD" and "surely worse" in decide(theirs, ours).reason


def test_a_margin_must_surely_be_exceeded() -> None:
    ours, theirs = measured(0.57), measured(0.50, noise=1)
    assert decide(ours, theirs, replace(SETTINGS, margin=2.0)).verdict == "PROMOTE"
    assert decide(ours, theirs, replace(SETTINGS, margin=5.0)).verdict == "UNDECIDED"
    assert decide(ours, theirs, replace(SETTINGS, margin=20.0)).verdict == "HOLD"


def test_what_is_inside_the_noise_is_undecided_with_the_images_that_would_decide() -> None:
    findings = decide(measured(0.503), measured(0.50, noise=1))
    assert findings.verdict == "UNDECIDED"
    assert findings.comparison and findings.comparison.more_images
    assert f"about {findings.comparison.more_images} more frozen images would decide" in findings.reason


def test_one_more_frozen_image_is_not_many() -> None:
    ours, theirs = measured(0.9, images=5), measured(0.6, images=5)
    assert ": about 1 more frozen image would decide" in decide(ours, theirs).reason


def test_a_class_that_collapses_while_the_mean_rises_is_held() -> None:
    ours, theirs = measured(dict.fromkeys(range(8), 0.75) | {6: 0.05}), measured(0.5, noise=1)
    findings = decide(ours, theirs)
    assert ours.metrics["PQ"] > theirs.metrics["PQ"] + 5 and findings.comparison
    assert findings.comparison.verdict == "better" and findings.verdict == "HOLD"
    assert "classes fall: class6 by " in findings.reason and "over register.max_class_drop = 5" in findings.reason
    assert decide(ours, theirs, replace(SETTINGS, max_class_drop=50.0)).verdict == "PROMOTE"
    assert decide(ours, theirs, replace(SETTINGS, min_instances=1000)).verdict == "PROMOTE"


def test_things_that_fall_while_the_mean_rises_are_held() -> None:
    shares = dict.fromkeys(range(4), 0.44) | dict.fromkeys(range(4, 8), 0.7)
    findings = decide(measured(shares), measured(0.5, noise=1))
    assert findings.comparison and findings.comparison.verdict == "better" and findings.verdict == "HOLD"
    assert "PQ_th falls by " in findings.reason and "over register.max_drop = 1" in findings.reason


@pytest.mark.parametrize(
    ("rehearsal", "words"),
    [
        (Rehearsal(ms=300, their_ms=100, slowdown=3.0), "3.00 times as long as the champion (300 and 100 ms"),
        (Rehearsal(size_mb=200.0), "it has 200.0 MB, over register.max_size_mb = 100"),
        (Rehearsal(problem="two fresh processes label 1 of 3 images differently"), "label 1 of 3 images differently"),
    ],
)
def test_a_better_model_that_cannot_be_used_as_the_champion_is_held(rehearsal: Rehearsal, words: str) -> None:
    settings = replace(SETTINGS, max_size_mb=100.0)
    findings = decide(measured(0.6), measured(0.5, noise=1), settings, rehearsal=rehearsal)
    assert findings.verdict == "HOLD" and words in findings.reason
    assert decide(measured(0.6), measured(0.5, noise=1), settings).verdict == "PROMOTE"


def test_frozen_images_in_the_training_data_hold_a_better_model() -> None:
    moved = [f"frozen image {n} is in the training data now" for n in range(15)]
    findings = decide(measured(0.6), measured(0.5, noise=1), moved=moved)
    assert findings.verdict == "HOLD"
    assert (
        "frozen image 9 is" in findings.reason and "and 5 more; take them out of the training data" in findings.reason
    )


def test_what_was_rolled_back_from_does_not_come_back_by_itself() -> None:
    undone = entry("a", action="rollback", target=1, who="anna@host", why="it sees ghosts")
    findings = decide(measured(0.6), measured(0.5, noise=1), undone=undone)
    assert findings.verdict == "HOLD" and "was rolled back from by anna@host at 2026-01-01" in findings.reason
    assert "it sees ghosts" in findings.reason and "--force" in findings.reason


def test_a_champion_that_was_not_measured_on_the_same_is_not_compared() -> None:
    champion = Incumbent(name="version 1", evidence=None, problem="version 1 has no report on val; measure it")
    findings = judge(SETTINGS, measured(0.6), champion, name="version 2", rehearsal=Rehearsal())
    assert findings.verdict == "HOLD" and findings.comparison is None and "has no report on val" in findings.reason
    without = replace(measured(0.5), counts=None, categories=None)
    for ours, theirs in ((measured(0.6), without), (without, measured(0.5))):
        findings = decide(ours, theirs)
        assert findings.verdict == "HOLD" and "run `evaluate` with --run /runs/x again" in findings.reason


def test_other_images_or_categories_are_not_compared() -> None:
    ours, theirs = measured(0.6), measured(0.5)
    renamed = Categories(tuple(replace(c, name=f"{c.name}!") for c in CLASSES.entries))
    assert "different categories" in decide(replace(ours, categories=renamed), theirs).reason
    with pytest.raises(InputError, match="measured on different images"):
        decide(ours, measured(0.5, images=50))


def test_equal_models_are_hardly_ever_promoted_or_held_for_a_class() -> None:
    """What `compare` decides alone is simulated with it; here also every class may speak up."""
    findings = [decide(measured(0.5, 40, noise=2 * n), measured(0.5, 40, noise=2 * n + 1)) for n in range(100)]
    assert sum(one.verdict == "PROMOTE" for one in findings) <= 5
    assert sum("fall" in one.reason for one in findings) <= 5


@pytest.mark.parametrize(("theirs", "is_noted"), [(("bf16",), True), (("fp32",), False), ((), False)])
def test_other_number_formats_are_said(theirs: tuple[str, ...], is_noted: bool) -> None:
    better, worse = measured(0.7), measured(0.5)
    findings = decide(replace(better, number_formats=("fp32",)), replace(worse, number_formats=theirs))
    assert findings.verdict == "PROMOTE"
    assert bool(findings.notes) == is_noted and all("in fp32, version 1 in bf16" in note for note in findings.notes)


def test_all_that_was_found_is_plain_values() -> None:
    plain = decide(measured(0.6), measured(0.5, noise=1), notes=["not looked at"]).to_json()
    assert (
        plain["verdict"] == "PROMOTE" and plain["comparison"]["images"] == 100 and plain["notes"] == ["not looked at"]
    )
    assert plain["settings"]["max_drop"] == 1.0 and plain["rehearsal"]["problem"] == ""
