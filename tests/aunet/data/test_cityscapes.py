"""Cityscapes as distributed gives what the official conversion gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aunet.data.cityscapes import CATEGORIES, LABELS, decode_instance_ids, frame_of, image_id_of, panoptic_of
from aunet.data.coco_panoptic import rgb_from_ids
from aunet.errors import InputError
from tests.cityscapes import EVERYTHING, IGNORED, NUMBER, STUFF, THINGS, WITH_INSTANCES, official, paint, png


def converted(values: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    ids, segments = panoptic_of(decode_instance_ids(png(values)))
    return rgb_from_ids(ids), [
        {"id": s.id, "category_id": s.category_id, "area": s.area, "bbox": list(s.bbox), "iscrowd": int(s.is_crowd)}
        for s in segments
    ]


def assert_official(values: NDArray[np.uint16]) -> list[dict[str, Any]]:
    picture, segments = converted(values)
    expected_picture, expected = official(values)
    assert np.array_equal(picture, expected_picture)
    assert segments == expected
    return segments


def test_two_cars_a_group_and_a_road_by_hand() -> None:
    values = np.array([[7, 7, 7, 3], [26000, 26, 26001, 3], [26000, 26, 29000, 0]], np.uint16)
    ids, segments = panoptic_of(values)
    assert ids.tolist() == [[7, 7, 7, 0], [26000, 26, 26001, 0], [26000, 26, 0, 0]]
    assert [(s.id, s.category_id, s.is_crowd, s.area, s.bbox) for s in segments] == [
        (7, 7, False, 3, (0, 0, 3, 1)),
        (26, 26, True, 2, (1, 1, 1, 2)),
        (26000, 26, False, 2, (0, 1, 1, 2)),
        (26001, 26, False, 1, (2, 1, 1, 1)),
    ]


def test_a_scene_with_every_rule() -> None:
    values = paint(EVERYTHING)
    labels = set(np.where(values < 1000, values, values // 1000).ravel().tolist())
    assert labels == {*STUFF, *THINGS, *IGNORED} - {-1}, "a label is not in the scene"
    segments = {s["id"]: s for s in assert_official(values)}
    assert {s["category_id"] for s in segments.values()} == {*STUFF, *THINGS}
    assert [i for i, s in segments.items() if s["iscrowd"]] == [24, 26, 33], "the groups, and nothing else"
    assert {26000, 26001, 24000, 24001, 33000} <= set(segments)
    cut = np.flatnonzero((values == 33000).any(axis=0))
    assert cut.max() - cut.min() + 1 > len(cut) and segments[33000]["bbox"][2] == 12, "the pole cuts the bicycle"


@pytest.mark.parametrize("name", sorted([*STUFF.values(), *THINGS.values(), *IGNORED.values()]))
def test_each_label_alone_as_one_and_as_a_group(name: str) -> None:
    sky = ("sky", 0, 0, 20, 16)
    one = assert_official(paint([sky, (name, 3, 2, 9, 7)], 16, 20))
    assert len(one) == 1 + (NUMBER[name] in ({*STUFF, *THINGS} - {NUMBER["sky"]}))
    assert not any(s["iscrowd"] for s in one)
    if name in WITH_INSTANCES:
        group = assert_official(paint([sky, (f"{name}group", 3, 2, 9, 7)], 16, 20))
        assert [s["id"] for s in group if s["iscrowd"]] == [NUMBER[name]] * (NUMBER[name] in THINGS)


def test_a_license_plate_belongs_to_its_car_or_is_void() -> None:
    values = paint([("car", 2, 2, 12, 9), ("license plate", 4, 5, 7, 7)], 12, 16)
    (car,) = assert_official(values)
    assert car["area"] == 70, "not painted, as the data set's tools have it"
    values[5:7, 4:7] = np.array(-1).astype(np.uint16)
    (car,) = assert_official(values)
    assert car["area"] == 64, "painted: minus one in sixteen bits"


def test_a_stuff_label_with_a_number_keeps_its_value() -> None:
    values = np.array([[7, 7000, 7001, 21]], np.uint16)
    assert [(s["id"], s["category_id"], s["iscrowd"]) for s in assert_official(values)] == [
        (7, 7, 0),
        (21, 21, 0),
        (7000, 7, 0),
        (7001, 7, 0),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_random_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = [*STUFF, *THINGS, *(i for i in IGNORED if i >= 0), 65535]
    known += [label * 1000 + number for label in (*THINGS, 29, 30, 7) for number in (0, 1, 2, 999)]
    values = np.zeros((40, 56), np.uint16)
    for _ in range(60):
        y, x = rng.integers(0, 36), rng.integers(0, 52)
        values[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = rng.choice(known)
    assert_official(values)


def test_an_image_of_void_has_no_segments() -> None:
    assert assert_official(paint([("out of roi", 0, 0, 8, 8)], 8, 8)) == []


def test_the_labels_are_the_official_ones() -> None:
    assert {label.id: label.name for label in LABELS} == STUFF | THINGS | IGNORED
    assert [c.id for c in CATEGORIES.entries] == sorted({*STUFF, *THINGS})
    assert {c.id: c.name for c in CATEGORIES.things} == THINGS and {c.id: c.name for c in CATEGORIES.stuff} == STUFF
    evaluated = [label for label in LABELS if label.train_id is not None]
    assert [label.train_id for label in sorted(evaluated, key=lambda label: label.id)] == list(range(19))
    assert len({label.color for label in evaluated}) == 19


def test_values_of_no_label_are_all_named() -> None:
    values = paint([("road", 0, 0, 8, 8)], 8, 8)
    values[0, :3], values[1, 0], values[2, 0] = 34, 500, 65534
    with pytest.raises(InputError) as caught:
        panoptic_of(values)
    assert [p.split(" belongs")[0] for p in caught.value.problems] == [
        "value 34 (3 pixels)",
        "value 500 (1 pixels)",
        "value 65534 (1 pixels)",
    ]


def test_eight_bits_and_other_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="a PNG of mode 'L': instanceIds are a grey 16-bit PNG"):
        decode_instance_ids(png(np.full((4, 4), 26, np.uint8)))
    with pytest.raises(InputError, match="mode 'RGB'"):
        decode_instance_ids(png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_instance_ids(png(paint(EVERYTHING))[:-60])
    with pytest.raises(InputError, match="not a picture"):
        decode_instance_ids(b"<html>")


def test_the_number_of_an_image_follows_its_name_alone() -> None:
    assert image_id_of("aachen_000000_000019") == 5482878004024229 < 2**53
    numbers = {image_id_of(f"aachen_{n:06d}_000019") for n in range(5000)}
    assert len(numbers) == 5000 and 0 <= min(numbers) and max(numbers) < 2**53


def test_an_image_and_its_annotation_share_their_frame() -> None:
    assert frame_of("aachen/aachen_0_1_leftImg8bit.png") == "aachen/aachen_0_1"
    assert frame_of("aachen/aachen_0_1_gtFine_instanceIds.png") == "aachen/aachen_0_1"
    assert frame_of("aachen/aachen_0_1_gtCoarse_instanceIds.png") == "aachen/aachen_0_1"
