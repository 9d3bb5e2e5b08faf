"""One image of a report: layers say again what was put into them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from aunet.data.sample import Sample
from aunet.evaluation.outcomes import Fate
from aunet.segments import Segment
from aunet.structures import PanopticMap
from pipelines.measuring.gallery_item import ATTENTION_SIDE, MAX_SEGMENTS, MAX_SIDE, draw_item, shown_size
from pipelines.pages.errors_layer import PixelVerdict
from pipelines.pages.picks import Pick
from tests.tiny import CATEGORIES

DISK, SKY, STAR, GRASS = 3, 5, 9, 12


def indices(layer: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(layer)))


def sample_of(ids: NDArray[Any], categories: dict[int, int], image_id: int = 8) -> Sample:
    segments = [Segment(n, c, CATEGORIES.by_id[c].is_thing, int((ids == n).sum())) for n, c in categories.items()]
    image = np.random.default_rng(0).integers(0, 256, (*ids.shape, 3), np.uint8)
    return Sample(image_id, image, ids.astype(np.uint8), segments)


def map_of(ids: NDArray[Any], categories: dict[int, int], score: float = 0.75) -> PanopticMap:
    segments = [
        Segment(n, c, thing := CATEGORIES.by_id[c].is_thing, int((ids == n).sum()), score if thing else None)
        for n, c in categories.items()
    ]
    return PanopticMap(torch.from_numpy(ids.astype(np.int32)), segments)


def quarters() -> NDArray[np.int64]:
    """Left 1, right 2, and 3 in the middle of the left; void at the right edge."""
    ids = np.ones((40, 60), np.int64)
    ids[:, 30:] = 2
    ids[10:30, 5:25] = 3
    ids[:, 58:] = 0
    return ids


TRUE = {1: SKY, 2: GRASS, 3: DISK}


def item_of(predicted: PanopticMap, unguided: PanopticMap | None = None, **attention: torch.Tensor) -> dict[str, Any]:
    return draw_item(sample_of(quarters(), TRUE), predicted, attention, unguided, Pick(8, 12.5, -3.0), CATEGORIES)


def test_layers_hold_the_segments() -> None:
    predicted = quarters()
    predicted[predicted == 0] = 2
    item = item_of(map_of(predicted * 7, {7: SKY, 14: GRASS, 21: STAR}))
    truth = indices(item["layers"]["truth"])
    assert truth.shape == (40 * 7, 60 * 7), "enlarged by an integer, to 400 pixels or more"
    np.testing.assert_array_equal((truth >> 1)[::7, ::7], quarters())
    assert set(np.unique(truth & 1)) == {0, 1}, "outlines are marked"
    assert [(s[0], s[1], s[2], s[3]) for s in item["segments"]["prediction"]] == [
        (7, 1, 800, Fate.MATCHED),
        (14, 3, 1200, Fate.MATCHED),
        (21, 2, 400, Fate.FALSE),
    ]
    disk = item["segments"]["truth"][2]
    assert disk[1:] == [0, 400, Fate.MISSED, 0.0, 2, None], "the true disk is a star there"
    assert item["segments"]["prediction"][2][6] == 0.75
    verdicts = indices(item["layers"]["errors"])[::7, ::7] >> 1
    assert (verdicts[10:30, 5:25] == PixelVerdict.WRONG).all() and (verdicts[:, 58:] == PixelVerdict.VOID).all()
    assert (verdicts[quarters() == 1] == PixelVerdict.RIGHT).all()
    assert (item["pq"], item["change"]) == (12.5, -3.0)


def test_a_match_has_the_colour_of_its_truth() -> None:
    item = item_of(map_of(quarters(), TRUE))
    colors = [Image.open(io.BytesIO(item["layers"][name])).getpalette() or [] for name in ("truth", "prediction")]
    assert colors[0][6:24] == colors[1][6:24] and len(set(colors[0][6:24])) > 3


def test_without_attention() -> None:
    predicted, other = quarters(), quarters()
    other[:20] = 2
    plain = item_of(map_of(predicted, TRUE))
    assert plain["unguided_pq"] is None and plain["moved"] is None and "unguided" not in plain["layers"]
    item = item_of(map_of(predicted, TRUE), map_of(other, TRUE))
    assert item["moved"] == pytest.approx((20 * 30 + 20 * 2) / 2400) and 0 < item["unguided_pq"] < 100
    assert {"unguided", "unguided_errors"} <= set(item["layers"])


def test_attention_maps_are_small_and_have_a_range() -> None:
    values = torch.linspace(0.2, 0.6, 60).expand(40, 60).contiguous()
    item = item_of(map_of(quarters(), TRUE), mam=values, pam5=torch.full((40, 60), 0.5))
    assert item["ranges"] == {"mam": (0.2, 0.6), "pam5": (0.4, 0.5)}
    levels = indices(item["layers"]["mam"])
    assert levels[0, 0] == 0 and levels[0, -1] == 63 and (np.diff(levels[0].astype(int)) >= 0).all()
    large = draw_item(
        sample_of(np.ones((300, 900), np.int64), {1: SKY}),
        map_of(np.ones((300, 900), np.int64), {1: SKY}),
        {"mam": torch.rand(300, 900)},
        None,
        Pick(8, None),
        CATEGORIES,
    )
    assert max(indices(large["layers"]["mam"]).shape) == ATTENTION_SIDE
    assert Image.open(io.BytesIO(large["picture"])).size == (MAX_SIDE, 213) and large["pq"] == 100.0


def test_of_many_segments_the_largest_are_drawn() -> None:
    ids = np.arange(200).reshape(10, 20).repeat(3, 0).repeat(3, 1) + 1
    ids[0, 0] = 2  # the first is the smallest
    categories = dict.fromkeys(range(1, 201), DISK)
    item = draw_item(sample_of(ids, categories), map_of(ids, categories), {}, None, Pick(1, None), CATEGORIES)
    assert len(item["segments"]["truth"]) == len(item["segments"]["prediction"]) == MAX_SEGMENTS
    assert 1 not in [s[0] for s in item["segments"]["truth"]]
    numbers = indices(item["layers"]["truth"]) >> 1
    assert numbers.max() == MAX_SEGMENTS and numbers[-1, -1] == 0, "those that are left out look like void"


@pytest.mark.parametrize(("size", "shown"), [((128, 160), (384, 480)), ((480, 640), (480, 640)), ((6, 3000), (1, 640))])
def test_sizes(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert shown_size(*size) == shown


def test_an_image_without_any_segment() -> None:
    nothing = np.zeros((20, 30), np.int64)
    item = draw_item(sample_of(nothing, {}), map_of(nothing, {}), {}, None, Pick(1, None), CATEGORIES)
    assert item["segments"] == {"truth": [], "prediction": []} and item["pq"] is None
    assert set(np.unique(indices(item["layers"]["errors"]) >> 1)) == {PixelVerdict.VOID}
