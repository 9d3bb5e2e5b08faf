"""What is counted of a data set, and that counting more needs no more memory."""

from __future__ import annotations

import numpy as np
import pytest

from aunet.categories import Category
from aunet.segments import Segment
from pipelines.lint.census import Census, Spread, vanishing

CAR, SKY = Category(id=3, name="car", is_thing=True), Category(id=5, name="sky", is_thing=False)


def thing(number: int, width: int, height: int, *, is_crowd: bool = False) -> Segment:
    box = (0, 0, width, height)
    return Segment(number, CAR.id, is_thing=True, area=width * height, is_crowd=is_crowd, bbox=box)


def test_quantiles_are_right_to_a_few_percent() -> None:
    numbers = np.random.default_rng(0).lognormal(3, 1.2, 5000)
    spread = Spread()
    for number in numbers:
        spread.add(float(number))
    for share in (0.05, 0.1, 0.5, 0.9, 0.95):
        assert spread.quantile(share) == pytest.approx(np.quantile(numbers, share), rel=0.05)
    assert spread.below(20) == pytest.approx((numbers < 20).sum(), rel=0.05)
    with pytest.raises(ValueError, match="nothing was counted"):
        Spread().quantile(0.5)


def test_memory_does_not_grow_with_the_images() -> None:
    census, rng = Census(), np.random.default_rng(1)
    for _ in range(3000):
        height, width = (int(v) for v in rng.integers(100, 4000, 2))
        segments = [thing(n, *(int(v) for v in rng.integers(1, 100, 2))) for n in range(1, 4)]
        census.add(height, width, [*segments, Segment(9, SKY.id, is_thing=False, area=int(rng.integers(1, 10**6)))])
    spreads = (census.short_sides, census.aspects, census.pixels, census.stuff_areas, *census.things.values())
    assert census.images == 3000 and sum(len(spread.bins) for spread in spreads) < 2500


def test_crowds_are_counted_as_segments_alone() -> None:
    census = Census()
    census.add(100, 200, [thing(1, 40, 10), thing(2, 90, 90, is_crowd=True), Segment(3, SKY.id, False, 7000)])
    assert census.things[CAR.id].total == 1 and census.most_things == 1
    assert census.things[CAR.id].quantile(0.5) == pytest.approx(0.2, rel=0.02), "√(40 · 10) of 100 pixels"
    car, sky = census.rows([CAR, SKY])
    assert (car["segments"], car["crowds"], car["pixels"], sky["pixels"]) == (2, 1, 8500, 7000)


def test_how_many_objects_vanish() -> None:
    census = Census()
    census.add(100, 200, [thing(1, 40, 40), thing(2, 6, 6), thing(3, 20, 20)], unit=2)
    limits = {"under 4 px": 4, "under 12 px": 12}
    bus = Category(id=8, name="bus", is_thing=True)
    car, none = vanishing(census, [CAR, SKY, bus], limits)
    assert (car["objects"], car["under 4 px"], car["under 12 px"]) == (3, 1, 2)
    assert car["median"] == pytest.approx(10, rel=0.03)
    assert (none["name"], none["objects"], none["median"], none["under 4 px"]) == ("bus", 0, None, 0)


def test_segments_without_measures_are_counted_by_number() -> None:
    census = Census()
    census.add(10, 10, [Segment(1, CAR.id, is_thing=True, area=-1), Segment(2, SKY.id, is_thing=False, area=-1)])
    assert census.things == {} and census.stuff_areas.total == 0
    assert [row["segments"] for row in census.rows([CAR, SKY])] == [1, 1]
    assert [row["pixels"] for row in census.rows([CAR, SKY])] == [0, 0]
