"""Which images a report shows."""

from __future__ import annotations

import numpy as np

from aunet.evaluation.outcomes import Outcomes
from aunet.evaluation.overlap import measure_overlap
from aunet.segments import Segment
from pipelines.pages.picks import choose
from tests.tiny import CATEGORIES

SKY, GRASS = 5, 12


def outcomes_of(iou: dict[int, int], category: int = SKY) -> Outcomes:
    """Images of one segment of 100 pixels, of which so many are predicted."""
    parts = []
    for image_id, pixels in iou.items():
        true, predicted = np.ones((1, 100), np.int32), np.zeros((1, 100), np.int32)
        predicted[0, :pixels] = 1
        segment = [Segment(1, category, False, 100)]
        parts.append(Outcomes.of(measure_overlap(predicted, segment, true, segment, CATEGORIES), image_id))
    return Outcomes.join(parts)


def empty(image_id: int) -> Outcomes:
    nothing = np.zeros((1, 4), np.int32)
    return Outcomes.of(measure_overlap(nothing, [], nothing, [], CATEGORIES), image_id)


def test_the_worst_come_first_and_none_comes_twice() -> None:
    picks = choose(outcomes_of({n: 100 - n for n in range(1, 40)}), CATEGORIES, most=10)
    assert picks[0].image_id == 39 and picks[0].pq is not None and abs(picks[0].pq - 61) < 1e-9
    assert len(picks) == 10 == len({p.image_id for p in picks}) and {38, 37} <= {p.image_id for p in picks}
    assert 1 in {p.image_id for p in picks}, "a good one is among them"
    assert all(p.change is None for p in picks)


def test_the_most_changed_are_among_the_first() -> None:
    ours, theirs = dict.fromkeys(range(1, 20), 90), dict.fromkeys(range(1, 20), 90)
    ours[7], theirs[11] = 60, 55
    picks = choose(outcomes_of(ours), CATEGORIES, outcomes_of(theirs), most=4)
    assert [p.image_id for p in picks][:2] == [7, 11]
    changes = {p.image_id: p.change for p in picks}
    assert abs((changes[7] or 0) + 30) < 1e-9 and abs((changes[11] or 0) - 35) < 1e-9


def test_a_class_that_always_fails_is_shown() -> None:
    good = outcomes_of(dict.fromkeys(range(1, 20), 90))
    picks = choose(Outcomes.join([good, outcomes_of({30: 20}, GRASS)]), CATEGORIES, most=2)
    assert 30 in {p.image_id for p in picks}


def test_images_without_anything_to_count_come_last() -> None:
    picks = choose(Outcomes.join([outcomes_of({5: 80, 6: 90}), empty(1)]), CATEGORIES)
    assert [p.image_id for p in picks][-1] == 1 and picks[-1].pq is None
    assert [p.image_id for p in choose(empty(1), CATEGORIES)] == [1]
