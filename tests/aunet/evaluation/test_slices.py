"""Slices: every counted segment is in exactly one, and what is unknown is said with the tags that exist."""

from __future__ import annotations

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.outcomes import Fate, Outcomes
from aunet.evaluation.slices import cut

CATEGORIES = Categories((Category(id=1, name="car", is_thing=True), Category(id=2, name="road", is_thing=False)))
TAGS = {
    1: {"file_name": "val/bonn/bonn_000001_000019_leftImg8bit.png", "height": "100", "width": "200", "night": "yes"},
    2: {"file_name": "val/ulm/ulm_000001_000019_leftImg8bit.png", "height": "100", "width": "200"},
    3: {"file_name": "val/ulm/ulm_000002_000019_leftImg8bit.png", "height": "50", "width": "50"},
}


def outcomes(*rows: tuple[int, bool, int, int, Fate]) -> Outcomes:
    """(image, predicted, category index, area, fate); images 1 to 3."""
    image_id, is_predicted, category, area, fate = (np.array(column) for column in zip(*rows, strict=True))
    size = len(rows)
    iou = np.where(fate == Fate.MATCHED, 0.8, 0)
    plain = {"images": [1, 2, 3], "image_id": image_id, "is_predicted": is_predicted, "category": category}
    plain |= {"segment_id": np.arange(size) + 1, "area": area, "is_crowd": fate == Fate.CROWD, "fate": fate, "iou": iou}
    return Outcomes.from_plain(
        plain | {"other_id": np.zeros(size), "other_category": np.zeros(size) - 1, "other_iou": iou}
    )


TRUE, PREDICTED = False, True
OURS = outcomes(
    (1, TRUE, 0, 500, Fate.MATCHED),
    (1, PREDICTED, 0, 2000, Fate.MATCHED),
    (1, TRUE, 1, 10_000, Fate.MISSED),
    (2, TRUE, 0, 3000, Fate.MATCHED),
    (2, TRUE, 0, 300, Fate.CROWD),
    (2, PREDICTED, 0, 3000, Fate.MATCHED),
    (2, PREDICTED, 1, 40, Fate.FALSE),
)


def sizes(by: str) -> dict[str, tuple[list[int], int, int, int]]:
    """Value → its images, and TP, FP, FN over all categories."""
    return {
        s.value: (s.ours.image_ids.tolist(), int(s.ours.tp.sum()), int(s.ours.fp.sum()), int(s.ours.fn.sum()))
        for s in cut(by, OURS, OURS, TAGS, CATEGORIES)
    }


def test_by_the_size_of_the_true_segment_or_else_the_predicted_one() -> None:
    assert sizes("size") == {"small": ([1, 2], 1, 1, 0), "medium": ([1, 2], 1, 0, 0), "large": ([1], 0, 0, 1)}


def test_by_the_share_of_the_image() -> None:
    assert sizes("relative-size") == {
        "0.1 to 1 %": ([2], 0, 1, 0),
        "1 to 10 %": ([1, 2], 1, 0, 0),
        "10 % and more": ([1, 2], 1, 0, 1),
    }


def test_by_category() -> None:
    assert sizes("category") == {"car": ([1, 2], 2, 0, 0), "road": ([1, 2], 0, 1, 1)}


def test_by_what_images_are() -> None:
    assert sizes("crowded") == {"with crowds": ([2], 1, 1, 0), "without crowds": ([1, 3], 1, 0, 1)}
    assert sizes("segments") == {"0 to 5": ([1, 2, 3], 2, 1, 1)}
    assert sizes("city") == {"bonn": ([1], 1, 0, 1), "ulm": ([2, 3], 1, 1, 0)}
    assert sizes("folder") == {"val/bonn": ([1], 1, 0, 1), "val/ulm": ([2, 3], 1, 1, 0)}
    assert sizes("resolution") == {"200×100": ([1, 2], 2, 1, 1), "50×50": ([3], 0, 0, 0)}
    assert sizes("night") == {"yes": ([1], 1, 0, 1)}, "images without the tag are left out"


@pytest.mark.parametrize("by", ["size", "relative-size", "category", "crowded", "segments", "city"])
def test_every_counted_segment_is_in_one_slice(by: str) -> None:
    counts = OURS.counts(CATEGORIES)
    cells = cut(by, OURS, OURS, TAGS, CATEGORIES)
    for name in ("tp", "fp", "fn"):
        assert sum(getattr(cell.ours, name).sum() for cell in cells) == getattr(counts, name).sum()


def test_a_tag_that_nobody_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"--slice weather: no image has such a tag; use one of size, .*city, folder"):
        cut("weather", OURS, OURS, TAGS, CATEGORIES)
    many = {n: {"name": str(n)} for n in range(1, 4)}
    with pytest.raises(InputError, match="height and width are not known"):
        cut("relative-size", OURS, OURS, many, CATEGORIES)


def test_a_tag_of_too_many_values_is_refused() -> None:
    size = 60
    one = Outcomes.from_plain({**Outcomes.join([]).to_plain(), "images": list(range(size))})
    with pytest.raises(InputError, match="--slice name: 60 values"):
        cut("name", one, one, {n: {"name": str(n)} for n in range(size)}, CATEGORIES)
