"""The three numberings of categories, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from aunet.categories import VOID, Categories, Category, ThingLabels, difference
from aunet.errors import InputError

ROAD = {"id": 7, "name": "road", "isthing": 0, "color": [128, 64, 128]}
CAR = {"id": 26, "name": "car", "isthing": 1}
SKY = {"id": 23, "name": "sky", "isthing": 0}
BUS = {"id": 3, "name": "bus", "isthing": 1}


@pytest.fixture
def street() -> Categories:
    return Categories.from_json([ROAD, CAR, SKY, BUS])


def test_sorted_by_id_and_split(street: Categories) -> None:
    assert [c.id for c in street.entries] == [3, 7, 23, 26]
    assert [c.name for c in street.things] == ["bus", "car"]
    assert [c.name for c in street.stuff] == ["road", "sky"]
    assert len(street) == 4
    assert street.by_id[7].color == (128, 64, 128)
    assert street.by_name["sky"].id == 23


def test_detector_labels_start_at_one(street: Categories) -> None:
    assert street.detector_labels == {3: 1, 26: 2}


def test_semantic_labels_with_all_things_as_one(street: Categories) -> None:
    assert street.semantic_labels("one") == {3: 0, 26: 0, 7: 1, 23: 2}
    assert street.num_thing_labels("one") == 1
    assert street.num_semantic("one") == 3


def test_semantic_labels_with_every_thing_its_own(street: Categories) -> None:
    assert street.semantic_labels("each") == {3: 0, 26: 1, 7: 2, 23: 3}
    assert street.num_thing_labels("each") == 2
    assert street.num_semantic("each") == 4
    assert VOID not in street.semantic_labels("each").values()


@pytest.mark.parametrize("thing_labels", ["one", "each"])
def test_stuff_only_and_things_only(thing_labels: ThingLabels) -> None:
    stuff, things = Categories.from_json([ROAD, SKY]), Categories.from_json([CAR])
    assert stuff.detector_labels == {}
    assert stuff.num_semantic(thing_labels) == 2 + (thing_labels == "one")
    assert things.num_semantic(thing_labels) == 1


def test_json_round_trip(street: Categories) -> None:
    assert Categories.from_json(street.to_json()) == street
    assert street.to_json()[1] == ROAD


def test_coco_sample(sample_data) -> None:
    import json

    path = sample_data / "coco_panoptic_mini/annotations/panoptic_val2017.json"
    coco = Categories.from_json(json.loads(path.read_text())["categories"], str(path))
    assert (len(coco), len(coco.things), len(coco.stuff)) == (133, 80, 53)
    assert coco.num_semantic("one") == 54


def test_an_id_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="id 7 is given twice"):
        Categories((Category(id=7, name="a", is_thing=True), Category(id=7, name="b", is_thing=False)))


def test_no_categories_are_refused() -> None:
    with pytest.raises(InputError, match="the list is empty"):
        Categories(())


def test_every_incomplete_entry_is_named() -> None:
    with pytest.raises(InputError) as caught:
        Categories.from_json([{"id": 1, "name": "a"}, CAR, {"isthing": 1}], "panoptic.json")
    first, second = caught.value.problems
    assert first.startswith("panoptic.json: category 0") and "lacks isthing" in first
    assert "category 2" in second and "lacks id, name" in second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "1"}, r"id is not a whole number in 0 … 2\*\*63 - 1; correct it"),
        ({"id": True}, "id is not a whole number"),
        ({"id": -1}, "id is not a whole number"),
        ({"id": 2**63}, "id is not a whole number"),
        ({"name": ""}, "name is not a text that can be printed"),
        ({"name": "\x1b[31m"}, "name is not a text that can be printed"),
        ({"name": ["car"]}, "name is not a text that can be printed"),
        ({"isthing": "0"}, "isthing is neither 0 nor 1"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Categories.from_json([{**CAR, **change}, ROAD], "config.json")
    assert caught.value.problems[0].startswith("config.json: category 0 (") and caught.value.problems[0].isprintable()


@pytest.mark.parametrize("entry", [None, "car", 7, [1]])
def test_what_is_no_category_is_named(entry: Any) -> None:
    with pytest.raises(InputError, match="lacks id, name, isthing; add it"):
        Categories.from_json([entry])


def test_a_difference_is_of_meaning() -> None:
    car, road = (Categories.from_json([entry]).entries for entry in (CAR, ROAD))
    assert difference(car, [replace(c, color=(1, 2, 3)) for c in car]) == ""
    assert difference((*car, *road), (*road, *car)) == ""
    assert difference(car, road).startswith("first in (id, name, is_thing) = (")
