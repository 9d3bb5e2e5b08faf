"""LabelMe: shapes, groups, paths and tags; and files that are not what they should be."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_panoptic import decode_panoptic
from aunet.errors import InputError
from pipelines.import_data import ImportedData, import_data

SQUARE = {"label": "cat", "points": [[2, 2], [6, 2], [6, 6], [2, 6]], "shape_type": "polygon"}


def photo(path: Path, *, turn: int | None = None, size: tuple[int, int] = (16, 12)) -> None:
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    tags = Image.Exif()
    if turn:
        tags[0x0112] = turn
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=tags, quality=95)


def labels(path: Path, *shapes: Any, size: tuple[int, int] | None = (16, 12), **more: Any) -> None:
    document = {"shapes": list(shapes), "imagePath": path.with_suffix(".jpg").name, "imageData": None}
    if size is not None:
        document |= {"imageWidth": size[0], "imageHeight": size[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, **more}))


def imported(folder: Path, **options: Any) -> ImportedData:
    given = {"things": ["all"], **options}
    return import_data("labelme", str(folder.parent / "out"), data=str(folder), workers=1, **given)


def maps(folder: Path) -> dict[str, np.ndarray]:
    root = folder.parent / "out" / "annotations" / "panoptic_train"
    return {str(p.relative_to(root)): decode_panoptic(p.read_bytes()) for p in root.rglob("*.png")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo(tmp_path / "in" / "a.jpg")
    return tmp_path / "in"


def test_shapes_of_every_kind(folder: Path) -> None:
    labels(
        folder / "a.json",
        {"label": "cat", "points": [[0, 0], [4, 3]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[10, 6], [10, 9]], "shape_type": "circle"},
        {"label": "dog", "points": [[1, 1], [5, 5]], "shape_type": "line"},
        {"label": "__ignore__", "points": [[0, 10], [16, 12]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[12, 0], [12, 2], [30, 2], [30, 0]]},
    )
    result = imported(folder)
    assert result.segments == 3
    assert result.changed == {"regions-clipped": 1, "regions-void": 1, "shapes-without-area": 1}
    ids = maps(folder)["a.png"]
    assert sorted(np.unique(ids, return_counts=True)[1].tolist())[:3] == [8, 12, 32]
    assert (ids[10:] == 0).all()


def test_shapes_of_a_group_and_label_are_one_object(folder: Path) -> None:
    far = {**SQUARE, "points": [[10, 2], [12, 2], [12, 4], [10, 4]]}
    labels(folder / "a.json", {**SQUARE, "group_id": 1}, {**far, "group_id": 1}, {**far, "label": "dog", "group_id": 1})
    result = imported(folder)
    assert result.segments == 2 and result.changed == {"thing-pixels-covered": 4, "regions-joined": 1}


def test_shapes_of_x_anylabeling(folder: Path) -> None:
    corners = [[0, 0], [4, 0], [4, 3], [0, 3]]
    turned = [[10, 5], [12, 7], [10, 9], [8, 7]]
    labels(
        folder / "a.json",
        {"label": "cat", "points": corners, "shape_type": "rectangle"},
        {"label": "dog", "points": turned, "shape_type": "rotation", "direction": 0.8},
    )
    assert imported(folder).segments == 2
    assert sorted(np.unique(maps(folder)["a.png"], return_counts=True)[1].tolist())[:2] == [8, 12]


@pytest.mark.parametrize("content", ["[1, 2]", "7", "{}"])
def test_other_json_is_ignored(content: str, folder: Path) -> None:
    labels(folder / "a.json", SQUARE)
    (folder / "classes.json").write_text(content)
    result = imported(folder)
    assert (result.images, result.changed) == (1, {"files-ignored": 1})


def test_what_macos_adds_is_no_image_and_no_annotation(folder: Path) -> None:
    labels(folder / "a.json", SQUARE)
    attributes = b"\0\5\x16\7\xa3"
    (folder / "__MACOSX/x").mkdir(parents=True)
    for name in ("._a.jpg", "._a.json", "__MACOSX/._a.jpg", "__MACOSX/x/b.json"):
        (folder / name).write_bytes(attributes)
    result = imported(folder)
    assert (result.images, result.changed) == (1, {})


def test_nested_folders_and_paths_of_other_machines(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.jpg", "x/a.jpg", "x/y/b.jpg"):
        photo(folder / name)
    labels(folder / "a.json", SQUARE)
    labels(folder / "x/a.json", SQUARE, imagePath="C:\\photos\\a.jpg")
    labels(folder / "x/y/b.json", SQUARE, imagePath="../../../../etc/passwd")
    result = imported(folder)
    assert result.images == 3 and set(maps(folder)) == {"a.png", "x/a.png", "x/y/b.png"}


def test_a_path_out_of_the_folder_reads_nothing_there(tmp_path: Path) -> None:
    photo(tmp_path / "secret.jpg")
    photo(tmp_path / "in" / "a.jpg")
    labels(tmp_path / "in" / "b.json", SQUARE, imagePath="../secret.jpg")
    with pytest.raises(InputError, match=r"b\.json: its image '\.\./secret\.jpg' is missing below"):
        imported(tmp_path / "in")


def test_images_without_annotation_are_left_out_or_kept(folder: Path) -> None:
    photo(folder / "b.jpg")
    labels(folder / "a.json", SQUARE)
    result = imported(folder)
    assert (result.images, result.changed) == (1, {"images-left-out": 1})
    kept = import_data("labelme", str(folder.parent / "kept"), data=str(folder), things=["all"], keep_void=True)
    assert (kept.images, kept.changed) == (2, {"images-void": 1})


def test_a_turned_photo_is_stored_as_it_was_annotated(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg", turn=6)
    photo(folder / "b.jpg", turn=6)
    labels(folder / "a.json", SQUARE, size=(12, 16))
    labels(folder / "b.json", SQUARE, size=(16, 12))
    result = imported(folder)
    assert result.changed == {"images-turned": 1, "images-untagged": 1} and result.exit_code == 0
    stored = {n: Image.open(tmp_path / "out/train" / n) for n in ("a.jpg", "b.jpg")}
    assert {n: p.size for n, p in stored.items()} == {"a.jpg": (12, 16), "b.jpg": (16, 12)}
    assert all(p.getexif().get(0x0112, 1) == 1 for p in stored.values())


def test_photos_are_links_or_copies(folder: Path) -> None:
    labels(folder / "a.json", SQUARE)
    imported(folder)
    assert (folder.parent / "out/train/a.jpg").samefile(folder / "a.jpg")
    import_data("labelme", str(folder.parent / "copied"), data=str(folder), things=["all"], copy=True)
    copied = folder.parent / "copied/train/a.jpg"
    assert not copied.samefile(folder / "a.jpg") and copied.read_bytes() == (folder / "a.jpg").read_bytes()


def test_labels_outside_of_the_categories_are_left_out_and_counted(folder: Path) -> None:
    labels(folder / "a.json", SQUARE, {**SQUARE, "label": "unicorn"})
    (folder.parent / "c.json").write_text('[{"name": "cat", "isthing": 1}, {"name": "grass", "isthing": 0}]')
    result = imported(folder, things=None, categories=str(folder.parent / "c.json"), background="grass")
    assert result.changed == {"shapes-left-out": 1} and result.segments == 2
    assert [c["id"] for c in result.categories] == [1, 2]


def test_what_is_a_thing_must_be_said(folder: Path) -> None:
    labels(folder / "a.json", SQUARE, {**SQUARE, "label": "lawn"})
    with pytest.raises(InputError, match=r"which labels are things.*there are cat, lawn"):
        imported(folder, things=None)
    with pytest.raises(InputError, match=r"--things dog: not a label.*it has cat, lawn"):
        imported(folder, things=["dog"])


HOSTILE: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "not JSON"),
    "shapes of another type": ({"shapes": 7}, "shapes is not a list of objects"),
    "a shape that is a number": ({"shapes": [1]}, "shapes is not a list of objects"),
    "no points": ({"shapes": [{"label": "cat", "shape_type": "polygon"}]}, "points None are not pairs"),
    "a rectangle of three points": (
        {"shapes": [{**SQUARE, "points": [[1, 2], [3, 4], [5, 6]], "shape_type": "rectangle"}]},
        "a rectangle of 3 points",
    ),
    "two points": ({"shapes": [{**SQUARE, "points": [[1, 2], [3, 4]]}]}, "a polygon of 2 points"),
    "not a number": ('{"shapes": [{"label": "cat", "points": [[NaN, 1], [2, 3], [4, 5]]}]}', "NaN is not a number"),
    "a kind that nobody knows": ({"shapes": [{**SQUARE, "shape_type": "blob"}]}, "shape_type 'blob' is unknown"),
    "a mask that is none": (
        {"shapes": [{"label": "cat", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "#"}]},
        "mask is not base64",
    ),
    "a mask that is text": (
        {"shapes": [{"label": "cat", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "aGVsbG8="}]},
        "not a picture",
    ),
    "a label that is a number": ({"shapes": [{**SQUARE, "label": 7}]}, "label 7, which is not a name"),
    "a label that is a list": (
        {"shapes": [SQUARE, {**SQUARE, "label": ["cat"]}]},
        r"shapes\[1\] has the label \['cat'\], which is not a name; correct it in LabelMe",
    ),
    "a label that is an object": ({"shapes": [{**SQUARE, "label": {}}]}, r"shapes\[0\] has the label {}, which is not"),
    "another size": ({"shapes": [SQUARE], "imageWidth": 99, "imageHeight": 99}, "for an image of 99×99"),
    "a control character": ({"shapes": [SQUARE], "imagePath": "a\u0000.jpg"}, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_should_be(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    for stem in ("good", "bad"):
        photo(tmp_path / "in" / f"{stem}.jpg")
        labels(tmp_path / "in" / f"{stem}.json", SQUARE)
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "in" / "bad.json").write_text(text)
    if message:
        with pytest.raises(InputError, match=message) as caught:
            imported(tmp_path / "in")
        assert all("bad" in problem or "import-data" in problem for problem in caught.value.problems)
        assert not (tmp_path / "out/annotations/panoptic_train.json").exists()
        result = imported(tmp_path / "in", skip_broken=True)
        assert (result.images, result.changed["images-broken"], result.defects[0]["rule"]) == (1, 1, "import")
    else:
        assert imported(tmp_path / "in").images == 2


def test_a_broken_file_in_another_folder_costs_its_image(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(folder / name)
    labels(folder / "json/a.json", SQUARE, {**SQUARE, "label": 7}, imagePath="../a.jpg")
    labels(folder / "json/b1.json", SQUARE, imagePath="../b.jpg")
    labels(folder / "json/b2.json", SQUARE, imagePath="../b.jpg")
    labels(folder / "json/c.json", SQUARE, imagePath="../c.jpg")
    result = imported(folder, skip_broken=True)
    assert set(maps(folder)) == {"c.png"} and result.changed == {"images-broken": 2}
    left_out = {d["image"]: d["message"] for d in result.defects if d["rule"] == "import"}
    assert set(left_out) == {"a.jpg", "b.jpg"} and "json/b1.json too; keep one" in left_out["b.jpg"]


def test_a_photo_that_is_none(folder: Path) -> None:
    labels(folder / "a.json", SQUARE)
    (folder / "b.jpg").write_bytes(b"GIF89a")
    labels(folder / "b.json", SQUARE)
    with pytest.raises(InputError, match=r"b\.jpg: a GIF file; convert it to JPEG or PNG"):
        imported(folder)


def test_an_out_inside_of_the_source_is_refused(folder: Path) -> None:
    labels(folder / "a.json", SQUARE)
    with pytest.raises(InputError, match="is inside"):
        import_data("labelme", str(folder / "out"), data=str(folder), things=["all"])


def test_mpo_and_grey_photos_are_photos(folder: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 12), 90).save(buffer, "PNG")
    (folder / "g.png").write_bytes(buffer.getvalue())
    labels(folder / "g.json", SQUARE, imagePath="g.png")
    assert imported(folder).images == 1
