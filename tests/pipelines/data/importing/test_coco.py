"""COCO instances: order, crowds, what is left out, and files that are not what they should be."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.coco import Coco
from pipelines.import_data import ImportedData, import_data
from tests.importers.writers import png, put

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
BIG = [[0, 0, 8, 0, 8, 8, 0, 8]]
SMALL = [[2, 2, 4, 2, 4, 4, 2, 4]]


def annotation(number: int, segmentation: Any, category_id: int = 18, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": category_id, "segmentation": segmentation, "iscrowd": 0, **more}


def write(folder: Path, *annotations: Any, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(folder / "images/a.png")
    images = [{"id": 7, "file_name": "a.png", "width": 10, "height": 10}]
    document = {"images": images, "annotations": list(annotations), "categories": CATEGORIES, **more}
    put(folder / "instances.json", json.dumps(document))


def imported(folder: Path, **options: Any) -> ImportedData:
    paths = {"images": str(folder / "images"), "annotations": str(folder / "instances.json")}
    return import_data("coco", str(folder / "out"), workers=1, **paths, **options)


def segments(folder: Path) -> list[tuple[int, int, int]]:
    document = json.loads((folder / "out/annotations/panoptic_train.json").read_text())
    assert [image["id"] for image in document["images"]] == [7]
    infos = document["annotations"][0]["segments_info"]
    return sorted((s["category_id"], s["area"], s["iscrowd"]) for s in infos)


def test_the_smaller_thing_is_on_top_or_the_later(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL, 1), annotation(2, BIG))
    assert imported(tmp_path).changed == {"thing-pixels-covered": 4}
    assert segments(tmp_path) == [(1, 4, 0), (18, 60, 0)]
    later = import_data(
        "coco",
        str(tmp_path / "later"),
        images=str(tmp_path / "images"),
        annotations=str(tmp_path / "instances.json"),
        on_top="later",
    )
    assert later.changed == {"regions-hidden": 1, "thing-pixels-covered": 4}


def test_crowds_and_ignored_objects_stay_what_they_are(tmp_path: Path) -> None:
    crowd = {"size": [10, 10], "counts": [0, 50, 50]}
    write(
        tmp_path, annotation(1, SMALL), annotation(2, crowd, iscrowd=1), annotation(3, [[6, 0, 9, 0, 9, 3]], ignore=1)
    )
    assert imported(tmp_path).changed == {"ignored-as-crowd": 1, "thing-pixels-covered": 4}
    assert segments(tmp_path) == [(18, 3, 1), (18, 4, 0), (18, 46, 1)]


def test_masks_that_cvat_marks_as_crowds_are_objects(tmp_path: Path) -> None:
    mask = {"size": [10, 10], "counts": [0, 50, 50]}
    cvat: dict[str, Any] = {"attributes": {"occluded": False}}
    brush = annotation(1, mask, iscrowd=1, **cvat)
    write(tmp_path, brush, annotation(2, SMALL, 1, **cvat), annotation(3, [], 1, **cvat))
    result = imported(tmp_path)
    assert segments(tmp_path) == [(1, 4, 0), (18, 46, 0)]
    assert result.changed == {"thing-pixels-covered": 4, "crowds-that-are-objects": 1, "shapes-without-area": 1}


@pytest.mark.parametrize(
    "other",
    [
        annotation(2, {"size": [10, 10], "counts": [96, 4]}, attributes={"occluded": True}),
        annotation(2, [[6, 6, 8, 6, 8, 8, 6, 8]], iscrowd=1),
    ],
)
def test_crowds_of_a_file_that_tells_them_apart_stay_crowds(other: dict[str, Any], tmp_path: Path) -> None:
    crowd = annotation(1, {"size": [10, 10], "counts": [0, 50, 50]}, iscrowd=1, attributes={"occluded": False})
    write(tmp_path, crowd, other)
    assert imported(tmp_path).changed == {}
    assert segments(tmp_path) == [(18, 4, other["iscrowd"]), (18, 50, 1)]


def test_ids_of_categories_and_images_are_kept(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, BIG), annotation(2, SMALL, 1, image_id=99))
    result = imported(tmp_path)
    assert [c["id"] for c in result.categories] == [1, 18] and result.changed == {"annotations-orphan": 1}


def test_boxes_alone_have_no_mask(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, [], bbox=[1, 1, 2, 2]))
    with pytest.raises(InputError, match=r"nothing to import \(1 images-left-out, 1 shapes-without-area\)"):
        imported(tmp_path, skip_broken=True)


def test_outlines_without_area_cost_no_object(tmp_path: Path) -> None:
    good = [[[], *SMALL, [5, 5, 6, 6]], [[8, 8, 10, 8, 10, 10, 8, 10]]]
    write(tmp_path, annotation(1, good[0]), annotation(2, [[]], 1), annotation(3, good[1], 1))
    assert imported(tmp_path).changed == {"shapes-without-area": 3}
    assert segments(tmp_path) == [(1, 4, 0), (18, 4, 0)]


def test_things_of_an_export_that_says_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL, 1), annotation(2, BIG))
    result = imported(tmp_path, things=["person"], background="rest")
    assert {c["name"]: c["isthing"] for c in result.categories} == {"person": 1, "dog": 0, "rest": 0}
    assert result.segments == 3


def test_a_thing_may_be_called_other(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL), categories=[{"id": 18, "name": "other"}])
    assert imported(tmp_path).segments == 1


def test_only_coco_stuffs_own_other_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL))
    stuff = [{"id": 200, "name": "other"}, {"id": 183, "name": "rest"}]
    areas = [annotation(2, BIG, 200), annotation(3, [[8, 0, 10, 0, 10, 8, 8, 8]], 183)]
    put(tmp_path / "stuff.json", json.dumps({"annotations": areas, "categories": stuff}))
    assert imported(tmp_path, stuff_json=str(tmp_path / "stuff.json")).changed == {"stuff-pixels-covered": 4}
    assert segments(tmp_path) == [(18, 4, 0), (183, 16, 0), (200, 60, 0)]


def test_an_id_of_two_lists_means_one_category(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL))
    stuff = {"annotations": [annotation(2, BIG, 50)], "categories": [{"id": 50, "name": "lawn"}, *CATEGORIES]}
    put(tmp_path / "stuff.json", json.dumps(stuff))
    assert imported(tmp_path, stuff_json=str(tmp_path / "stuff.json")).changed == {"stuff-pixels-covered": 4}
    assert segments(tmp_path) == [(18, 4, 0), (50, 60, 0)]
    stuff = {"annotations": [annotation(2, BIG, 1)], "categories": [{"id": 1, "name": "lawn"}]}
    put(tmp_path / "stuff.json", json.dumps(stuff))
    message = (
        r"stuff\.json: category id 1 is lawn, but in .*instances\.json it is person; renumber the categories of one"
    )
    with pytest.raises(InputError, match=message):
        imported(tmp_path, stuff_json=str(tmp_path / "stuff.json"))


def test_pixel_maps_need_names(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL))
    put(tmp_path / "maps/a.png", png(np.full((10, 10), 119, dtype=np.uint8)))
    with pytest.raises(InputError, match="what do its values mean"):
        imported(tmp_path, stuff_thing_maps=str(tmp_path / "maps"))
    put(tmp_path / "labels.txt", "0: unlabeled\n1: person\n18: dog\n120: lawn\n")
    result = imported(tmp_path, stuff_thing_maps=str(tmp_path / "maps"), palette=str(tmp_path / "labels.txt"))
    assert [(c["id"], c["name"], c["isthing"]) for c in result.categories][2] == (120, "lawn", 0)
    assert segments(tmp_path) == [(18, 4, 0), (120, 96, 0)]


def test_things_that_coco_never_annotated_are_not_stuff(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL))
    put(tmp_path / "maps/a.png", png(np.full((10, 10), 92, dtype=np.uint8)))
    put(tmp_path / "labels.txt", "1: person\n12: street sign\n18: dog\n91: hair brush\n92: banner\n95: hat\n")
    result = imported(tmp_path, pixel_maps=str(tmp_path / "maps"), palette=str(tmp_path / "labels.txt"))
    names = {c["id"]: c["name"] for c in result.categories}
    assert names == {1: "person", 18: "dog", 92: "banner", 95: "hat"}


def test_a_map_that_is_missing_or_of_another_size(tmp_path: Path) -> None:
    write(tmp_path, annotation(1, SMALL))
    put(tmp_path / "labels.txt", "120 lawn")
    put(tmp_path / "maps/other.png", png(np.zeros((10, 10), dtype=np.uint8)))
    options = {"pixel_maps": str(tmp_path / "maps"), "palette": str(tmp_path / "labels.txt")}
    with pytest.raises(InputError, match=r"a\.png: its pixel map missing in"):
        imported(tmp_path, **options)
    put(tmp_path / "maps/a.png", png(np.zeros((4, 10), dtype=np.uint8)))
    with pytest.raises(InputError, match="10×4, but its image is 10×10"):
        imported(tmp_path, **options)


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "no annotations": ({"annotations": None}, "'annotations' is null, not a list"),
    "categories of another type": ({"categories": 7}, "categories.0.: id, name missing or wrong"),
    "no categories": ({"categories": []}, "no list 'categories'"),
    "an id twice": ({"categories": [*CATEGORIES, {"id": 18, "name": "x"}]}, "id 18 is given before"),
    "a name twice": ({"categories": [*CATEGORIES, {"id": 19, "name": "dog"}]}, "dog is the name of two categories"),
    "a name that leaves": (
        {"images": [{"id": 7, "file_name": "../../a.png", "width": 1, "height": 1}]},
        "leaves its folder",
    ),
    "an image without size": ({"images": [{"id": 7, "file_name": "a.png"}]}, "height, width missing or wrong"),
    "a number for an image": ({"images": [3]}, "id, file_name, height, width missing or wrong"),
    "a missing image": ({"images": [{"id": 7, "file_name": "b.png", "width": 1, "height": 1}]}, "no such file"),
    "another size": ({"images": [{"id": 7, "file_name": "a.png", "width": 20, "height": 9}]}, "but its annotation is"),
    "an unknown category": ({"annotations": [annotation(1, SMALL, 5)]}, "category_id 5 is not in categories"),
    "a crowd that is a text": ({"annotations": [annotation(1, SMALL, iscrowd="no")]}, "neither 0 nor 1"),
    "two points": ({"annotations": [annotation(1, [[1, 2, 3, 4]])]}, "a polygon of 2 points"),
    "a text for a mask": ({"annotations": [annotation(1, "x" * 50)]}, "annotation 1"),
    "runs of another size": (
        {"annotations": [annotation(1, {"size": [9, 9], "counts": [81]})]},
        "run lengths for size",
    ),
    "an id that is a list": ({"annotations": [{**annotation(1, SMALL), "image_id": []}]}, "image_id missing or wrong"),
    "one image twice": (
        {"images": [{"id": n, "file_name": "a.png", "width": 10, "height": 10} for n in (7, 8)]},
        "another image has its id, its name",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_should_be(name: str, tmp_path: Path) -> None:
    changes, message = HOSTILE[name]
    write(tmp_path, annotation(1, SMALL), **changes)
    with pytest.raises(InputError, match=message):
        imported(tmp_path)
    assert not (tmp_path / "out/annotations/panoptic_train.json").exists()


@pytest.mark.parametrize(
    "entry", [{"file_name": "../b.png"}, {"file_name": "\x07.png"}, {"file_name": 3}, {"width": 0}]
)
def test_an_entry_of_an_image_that_is_wrong_costs_that_image(entry: dict[str, Any], tmp_path: Path) -> None:
    good = {"id": 7, "file_name": "a.png", "width": 10, "height": 10}
    write(tmp_path, annotation(1, SMALL), images=[good, {**good, "id": 8, "file_name": "b.png", **entry}])
    assert imported(tmp_path, skip_broken=True).changed == {"images-broken": 1}
    assert segments(tmp_path) == [(18, 4, 0)]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": [1', '{"images": [NaN]}', '{"images": []} x'])
def test_a_text_that_is_no_such_json(text: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(InputError, match=r"instances\.json"):
        imported(tmp_path)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    for count in (12_000, 24_000):  # the first fills the buffers
        folder = tmp_path / str(count)
        write(folder)
        images = [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(count)]
        entries = [{**annotation(n, BIG), "image_id": n * 7919 % count, "bbox": [0] * 40} for n in range(count)]
        document = {"images": images, "annotations": entries, "categories": CATEGORIES}
        (folder / "instances.json").write_text(json.dumps(document))
        del images, entries, document
        reader = Coco(str(folder / "images"), str(folder / "instances.json"), CategoryChoice())
        tracemalloc.start()
        assert sum(len(item.entries["annotations"]) for item in reader.items()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] < 60_000_000, peaks
