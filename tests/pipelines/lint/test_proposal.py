"""The rules from counts to settings: every proposal is a valid configuration, and none has the faults of beginners."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.segments import Segment
from pipelines.lint.census import Census
from pipelines.lint.proposal import CPU_SIDE, GPU_SIDE, Budget, propose
from pipelines.presets import shapes_smoke
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.training.advice import advice
from pipelines.training.identity import num_steps

KINDS = (("car", True), ("person", True), ("sky", False), ("road", False))
CATEGORIES = Categories(tuple(Category(id=n, name=name, is_thing=kind) for n, (name, kind) in enumerate(KINDS, 1)))


def census_of(
    images: int, size: tuple[int, int] = (360, 480), side: float = 60, *, things: bool = True, stuff: bool = True
) -> Census:
    """Images of one size with two objects of about that side, and a sky."""
    census, rng = Census(), np.random.default_rng(0)
    height, width = size
    for _ in range(images):
        segments: list[Segment] = []
        for number in range(1, 3 if things else 1):
            w, h = (max(1, round(side * float(f))) for f in rng.lognormal(0, 0.4, 2))
            segments.append(Segment(number, number, is_thing=True, area=w * h, bbox=(0, 0, w, h)))
        if stuff:
            segments.append(Segment(9, 3, is_thing=False, area=height * width // 3))
        census.add(height, width, segments)
    return census


def proposed(census: Census, **budget: Any) -> dict[str, Any]:
    settings = propose(census, CATEGORIES, Budget(**budget))
    assert all(setting.reason and "\n" not in setting.reason for setting in settings)
    assert len({setting.name for setting in settings}) == len(settings)
    return {setting.name: setting.value for setting in settings}


def configured(settings: dict[str, Any]) -> RunConfig:
    return override(shapes_smoke(), settings)


@pytest.mark.parametrize(("images", "gpus"), itertools.product([1, 2, 3, 7, 24, 30, 129, 5000, 118_000], [0, 1, 8]))
def test_every_proposal_is_valid_and_its_warm_up_short(images: int, gpus: int) -> None:
    census = census_of(min(images, 200))
    census.images = images
    config = configured(proposed(census, gpus=gpus))
    steps = num_steps(config, images)
    assert config.train.warmup_steps <= max(1, steps / 10) and config.train.warmup_steps < steps
    assert list(advice(config, images)) == [] or steps <= 3
    assert config.train.batch_size <= max(images, gpus) and config.train.use_gpu == (gpus > 0)
    assert steps * config.train.batch_size > 0.5 * images * config.train.epochs


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (128, 160), (360, 480), (480, 360), (1080, 1920), (3000, 300)])
@pytest.mark.parametrize("side", [2, 10, 60, 400])
@pytest.mark.parametrize("gpus", [0, 2])
def test_sizes_are_those_of_images_and_objects(size: tuple[int, int], side: float, gpus: int) -> None:
    config = configured(proposed(census_of(20, size, side), gpus=gpus))
    (short,) = config.augment.short_sides
    assert short % 32 == 0 and short <= max(96, min(min(size), GPU_SIDE if gpus else CPU_SIDE))
    crop = config.augment.crop
    assert crop is not None and all(value % 32 == 0 for value in crop)
    assert min(crop) <= short <= config.augment.max_size and max(crop) <= config.augment.max_size
    assert min(crop) >= short / 2
    assert (crop[0] <= crop[1]) if size[1] > size[0] else (crop[0] >= crop[1])
    anchors = config.model.rpn.anchor_sizes
    assert list(anchors) == sorted(set(anchors)) and anchors[0] >= 8
    assert 1 <= config.fusion.stuff_area <= 0.006 * size[0] * size[1] + 1


def test_small_objects_want_large_images() -> None:
    sizes = [proposed(census_of(50, (1080, 1920), side))["augment.short_sides"][0] for side in (400, 120, 25)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] == CPU_SIDE
    assert proposed(census_of(50, (1080, 1920), 25), gpus=1)["augment.short_sides"] == [GPU_SIDE]


def test_large_objects_want_large_crops_and_anchors() -> None:
    small, large = (proposed(census_of(50, side=side)) for side in (20, 150))
    shares = [min(values["augment.crop"]) / values["augment.short_sides"][0] for values in (small, large)]
    assert shares[0] < shares[1]
    assert max(small["model.rpn.anchor_sizes"]) < max(large["model.rpn.anchor_sizes"])


def test_images_high_and_wide_are_cut_square() -> None:
    census = census_of(20, (360, 480))
    for _ in range(20):
        census.add(480, 360, [])
    crop = proposed(census)["augment.crop"]
    assert crop[0] == crop[1]


def test_without_things_or_stuff() -> None:
    for census in (census_of(10, things=False), census_of(10, stuff=False), census_of(10, things=False, stuff=False)):
        configured(proposed(census))


def test_many_kinds_of_things_share_a_label_and_rare_categories_count() -> None:
    many = Categories(tuple(Category(id=n, name=str(n), is_thing=True) for n in range(1, 40)))
    values = {s.name: s.value for s in propose(census_of(20), many, Budget())}
    assert values["model.background.thing_labels"] == "one"
    assert proposed(census_of(20))["model.background.thing_labels"] == "each"
    assert proposed(census_of(20, side=5))["model.background.hard_pixels"] == 0.3
    assert proposed(census_of(20, side=120))["model.background.hard_pixels"] == 1.0


def test_pretrained_weights_are_trained_gently() -> None:
    census = census_of(30)
    assert proposed(census, pretrained=True)["train.lr"] < proposed(census, pretrained=False)["train.lr"]
