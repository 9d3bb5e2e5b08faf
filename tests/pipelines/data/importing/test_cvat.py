"""CVAT's XML: shapes, depth and groups; and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_panoptic import decode_panoptic
from aunet.errors import InputError
from pipelines.data.importing.cvat_xml import stream_cvat
from pipelines.import_data import ImportedData, import_data

LABELS = "".join(f"<label><name>{n}</name><color>#ff0000</color></label>" for n in ("cat", "dog", "lawn"))
BOX = '<box label="cat" xtl="1" ytl="1" xbr="5" ybr="4"/>'


def write(folder: Path, shapes: str, *, name: str = "a.png", size: tuple[int, int] = (16, 12)) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((12, 16, 3), dtype=np.uint8)).save(folder / "images/a.png")
    image = f'<image id="0" name="{name}" width="{size[0]}" height="{size[1]}">{shapes}</image>'
    meta = f"<meta><task><name>t</name><labels>{LABELS}</labels></task></meta>"
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{image}</annotations>")


def imported(folder: Path, **options: Any) -> ImportedData:
    paths = {"images": str(folder / "images"), "annotations": str(folder / "annotations.xml")}
    return import_data("cvat", str(folder / "out"), workers=1, **{"things": ["cat,dog"], **paths, **options})


def areas(folder: Path, name: str = "a.png") -> list[int]:
    ids = decode_panoptic((folder / "out/annotations/panoptic_train" / name).read_bytes())
    values, counts = np.unique(ids, return_counts=True)
    return sorted(counts[values > 0].tolist())


def test_shapes_of_every_kind(tmp_path: Path) -> None:
    write(
        tmp_path,
        f'{BOX}<polygon label="lawn" points="0,6;16,6;16,12;0,12"/><ellipse label="dog" cx="12" cy="3" rx="2" ry="2"/>'
        '<mask label="dog" rle="1, 2, 3" left="0" top="8" width="3" height="2"/><points label="dog" points="1,1"/>'
        '<polyline label="dog" points="1,1;2,2"/><tag label="cat"/>',
    )
    result = imported(tmp_path)
    assert result.changed == {"stuff-pixels-covered": 2, "shapes-without-area": 3}
    assert areas(tmp_path) == [2, 12, 12, 94]
    assert result.categories[0]["color"] == [255, 0, 0]


def test_depth_and_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        '<box label="cat" z_order="1" xtl="0" ytl="0" xbr="2" ybr="2"/>'
        '<box label="dog" xtl="0" ytl="0" xbr="4" ybr="2"/>'
        '<box label="dog" group_id="3" xtl="8" ytl="8" xbr="9" ybr="9"/>'
        '<box label="dog" group_id="3" xtl="10" ytl="8" xbr="12" ybr="9"/>',
    )
    assert imported(tmp_path).changed == {"regions-joined": 1, "thing-pixels-covered": 4}
    assert areas(tmp_path) == [3, 4, 4]


def test_a_crowd_is_an_attribute(tmp_path: Path) -> None:
    crowd = '<attribute name="is_crowd">true</attribute>'
    write(tmp_path, f"{BOX[:-2]}>{crowd}</box>")
    imported(tmp_path)
    assert '"iscrowd": 1' in (tmp_path / "out/annotations/panoptic_train.json").read_text()


def write_project(folder: Path) -> None:
    """Two subsets with an image of one name: a box of 12 pixels in Train, of 2 in Validation."""
    images = ""
    for subset, right in (("Validation", 2), ("Train", 12)):
        (folder / "images" / subset).mkdir(parents=True)
        Image.fromarray(np.full((12, 16, 3), right, dtype=np.uint8)).save(folder / f"images/{subset}/1.png")
        box = f'<box label="cat" xtl="0" ytl="0" xbr="{right}" ybr="1"/>'
        images += f'<image name="1.png" subset="{subset}" task_id="1" width="16" height="12">{box}</image>'
    meta = f"<meta><project><labels>{LABELS}</labels></project></meta>"
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{images}</annotations>")


def test_a_project_has_a_folder_for_each_subset(tmp_path: Path) -> None:
    write_project(tmp_path)
    assert imported(tmp_path).images == 2
    assert (areas(tmp_path, "Train/1.png"), areas(tmp_path, "Validation/1.png")) == ([12], [2])
    assert (tmp_path / "out/train/Train/1.png").samefile(tmp_path / "images/Train/1.png")


def test_a_folder_of_one_subset_has_the_entries_of_this_subset_alone(tmp_path: Path) -> None:
    write_project(tmp_path)
    result = imported(tmp_path, images=str(tmp_path / "images/Train/"))
    assert (result.images, result.changed) == (1, {"annotations-orphan": 1})
    assert areas(tmp_path, "1.png") == [12]


def test_a_folder_with_the_name_of_a_subset_may_hold_all_of_them(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "images").rename(tmp_path / "Train")
    assert imported(tmp_path, images=str(tmp_path / "Train")).images == 2


@pytest.mark.parametrize("skip_broken", [False, True])
def test_images_of_two_subsets_are_never_one_file(skip_broken: bool, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "images/Train").rename(tmp_path / "photos")
    message = (
        r"1\.png: one file of .*photos, but .*annotations\.xml has an image of this name in each of the subsets "
        "Train and Validation; give --images the folder that has one for each subset"
    )
    with pytest.raises(InputError, match="nothing to import .1 images-broken" if skip_broken else message):
        imported(tmp_path, images=str(tmp_path / "photos"), skip_broken=skip_broken)


def test_images_of_a_project_may_lie_side_by_side(tmp_path: Path) -> None:
    write_project(tmp_path)
    xml = (tmp_path / "annotations.xml").read_text()
    (tmp_path / "annotations.xml").write_text(xml.replace('"1.png" subset="Train"', '"2.png" subset="Train"'))
    (tmp_path / "images/Train/1.png").rename(tmp_path / "images/2.png")
    (tmp_path / "images/Validation/1.png").rename(tmp_path / "images/1.png")
    assert imported(tmp_path).images == 2
    assert (areas(tmp_path, "1.png"), areas(tmp_path, "2.png")) == ([2], [12])


@pytest.mark.parametrize("ending", [".PNG", ".png"])
def test_frames_of_a_video_are_named_without_ending(ending: str, tmp_path: Path) -> None:
    write(tmp_path, BOX, name="frame_000000")
    (tmp_path / "images/a.png").rename(tmp_path / f"images/frame_000000{ending}")
    assert imported(tmp_path).images == 1
    assert (tmp_path / f"out/train/frame_000000{ending}").exists()


HOSTILE = {
    "not XML": ("<annotations><image", "not XML"),
    "something else": ("<html></html>", "begins with <html>"),
    "an empty file": ("", "not XML"),
    "a bomb": (
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>',
        "declares a document type",
    ),
    "a file of the machine": (
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>',
        "declares a document type",
    ),
    "an encoding of several bytes": (
        '<?xml version="1.0" encoding="gbk"?><annotations/>',
        "multi-byte.*save it in UTF-8",
    ),
    "an encoding that nobody knows": (
        '<?xml version="1.0" encoding="foo"?><annotations/>',
        "not XML in an encoding that can be read .unknown encoding: foo.; save it in UTF-8",
    ),
    "an encoding that is none": ('<?xml version="1.0" encoding="undefined"?><annotations/>', "save it in UTF-8"),
    "an image without size": ('<annotations><image name="a.png"/></annotations>', "without name, width or height"),
    "tracks": ("<annotations><track></track></annotations>", "CVAT for video"),
    "no label": ("<annotations></annotations>", "no label"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_should_be(name: str, tmp_path: Path) -> None:
    write(tmp_path, BOX)
    (tmp_path / "annotations.xml").write_text(HOSTILE[name][0])
    with pytest.raises(InputError, match=HOSTILE[name][1]) as caught:
        imported(tmp_path)
    assert str(caught.value).count("annotations.xml") == 1, "one message within another"


SHAPES = {
    "not numbers": ('<polygon label="cat" points="1,x;2,2;3,3"/>', "'x' is not a number"),
    "not a number": ('<polygon label="cat" points="nan,1;2,2;3,3"/>', "can be a coordinate"),
    "infinite": ('<box label="cat" xtl="inf" ytl="1" xbr="2" ybr="3"/>', "can be a coordinate"),
    "odd": ('<polygon label="cat" points="1,2;3"/>', "not pairs"),
    "empty": ('<polygon label="cat" points=""/>', "is not a number"),
    "a label of another task": ('<polygon label="emu" points="1,2;3,4;5,5"/>', "not one of the task"),
    "an unknown shape": ('<blob label="cat"/>', "a blob is unknown"),
    "too few runs": ('<mask label="cat" rle="1" left="0" top="0" width="3" height="2"/>', "run lengths of 1 pixels"),
    "a huge mask": (
        '<mask label="cat" rle="1" left="0" top="0" width="99999999" height="99999999"/>',
        "a mask of 99999999×99999999",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_that_cannot_be_drawn(name: str, tmp_path: Path) -> None:
    write(tmp_path, SHAPES[name][0])
    with pytest.raises(InputError, match=f"a.png: shape 0 .*{SHAPES[name][1]}"):
        imported(tmp_path)


def test_an_image_that_leaves_the_folder_or_has_another_size(tmp_path: Path) -> None:
    write(tmp_path, BOX, name="../../a.png")
    with pytest.raises(InputError, match="leaves its folder"):
        imported(tmp_path)
    write(tmp_path, BOX, size=(99, 12))
    with pytest.raises(InputError, match="its annotation is for 99×12"):
        imported(tmp_path)


def test_images_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Memory is that of one image: the first comes before the end of the file is read."""
    path = tmp_path / "a.xml"
    image = '<image name="{}.png" width="4" height="4"><box label="cat" xtl="0" ytl="0" xbr="1" ybr="1"/></image>'
    path.write_text(f"<annotations>{''.join(map(image.format, range(5000)))}<unfinished>")
    assert next(stream_cvat(str(path)))[1]["name"] == "0.png"
