"""Images that collide, cannot be read or are too large, names that lead elsewhere, and disks that are full."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.data.cityscapes import CATEGORIES
from aunet.errors import InputError
from pipelines.predict import predict
from pipelines.store import storage
from tests.cityscapes import png
from tests.disks import small_disk
from tests.pipelines.labelling import Blind, blind, labelled, new_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path)


def maps_of(folder: Path) -> dict[str, str]:
    """Name of an image → name of its map, both by the document and on the disk."""
    document = json.loads((folder / "out/panoptic.json").read_bytes())
    maps = {i["file_name"]: a["file_name"] for i, a in zip(document["images"], document["annotations"], strict=True)}
    written = {
        path.relative_to(folder / "out/panoptic").as_posix() for path in (folder / "out/panoptic").rglob("*.png")
    }
    assert set(maps.values()) == written and len(written) == len(maps)
    return maps


@pytest.mark.parametrize(
    ("names", "maps"),
    [
        (("a.jpg", "a.png", "b.png"), {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.png": "b.png"}),
        (("b.JPG", "b.jpg"), {"b.JPG": "b.JPG.png", "b.jpg": "b.jpg.png"}),
        (("x/a.jpg", "y/a.png"), {"x/a.jpg": "x/a.png", "y/a.png": "y/a.png"}),
        (
            ("a.jpg", "a.png", "a.jpg.jpg"),
            {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "a.jpg.jpg": "a.jpg.jpg.png"},
        ),
    ],
)
def test_every_image_has_a_map_of_its_own(folder: Path, names: tuple[str, ...], maps: dict[str, str]) -> None:
    for path in (folder / "test2017").iterdir():
        path.unlink()
    for name in names:
        (folder / "test2017" / name).parent.mkdir(exist_ok=True)
        (folder / "test2017" / name).write_bytes(png(np.zeros((6, 8, 3), np.uint8)))
    assert len(labelled(folder)) == len(names)
    assert maps_of(folder) == maps
    assert labelled(folder) and maps_of(folder) == maps


def test_unreadable_images_are_reported_and_the_others_are_whole(folder: Path) -> None:
    (folder / "test2017/000000000016.png").write_bytes(b"<html>")
    with pytest.raises(InputError) as caught:
        labelled(folder)
    first, last = caught.value.problems
    assert "000000000016.png: not a picture" in first
    assert last == f"the other 2 of 3 images are labelled, in {folder}/out"
    assert sorted(maps_of(folder)) == ["000000000001.png", "000000000019.png"]


def test_nothing_is_written_where_no_image_can_be_read(folder: Path) -> None:
    for path in (folder / "test2017").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        labelled(folder)
    assert len(caught.value.problems) == 3 and not (folder / "out").exists()


def test_a_failure_leaves_the_old_predictions(folder: Path) -> None:
    labelled(folder)
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}

    class Failing(Blind):
        def __call__(self, images: list[np.ndarray]) -> list[Any]:
            if Failing.left == 0:
                raise RuntimeError("out of memory")
            Failing.left -= 1
            return super().__call__(images)

        left = 2

    def failing(uri: str, trust_exported: bool = False) -> Any:
        return Failing()

    with pytest.raises(RuntimeError):
        predict(str(folder / "model"), str(folder / "test2017"), str(folder / "out"), load=failing)
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["panoptic", "panoptic.json"]


def test_numbers_of_images_without_an_id_are_free_ones(folder: Path) -> None:
    """Ground truth of one image, whose id is the position of another."""
    (folder / "maps").mkdir()
    truth = {
        "images": [{"id": 2, "file_name": "000000000001.png", "height": 6, "width": 8}],
        "annotations": [{"image_id": 2, "file_name": "1.png", "segments_info": []}],
        "categories": CATEGORIES.to_json(),
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    labels = labelled(folder, panoptic_json=str(folder / "truth.json"), panoptic_dir=str(folder / "maps"))
    assert labels == [(2, "000000000001.png"), (1, "000000000016.png"), (3, "000000000019.png")]


def test_the_listed_file_that_is_meant_is_named(folder: Path) -> None:
    document = json.loads((folder / "info.json").read_bytes())
    document["images"][0]["file_name"] = "000000000019.PNG"
    (folder / "info.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"there is 000000000019.png, and capitals matter; add it or drop the entry"):
        labelled(folder, image_info=str(folder / "info.json"))


@pytest.mark.parametrize("out", ["test2017", "test2017/labels", "link/labels"])
def test_results_among_the_images_are_refused(folder: Path, out: str) -> None:
    (folder / "link").symlink_to(folder / "test2017")
    with pytest.raises(InputError, match=r"--out .*: inside of --images .*; write to another folder"):
        predict(str(folder / "model"), str(folder / "test2017"), str(folder / out), load=blind)
    assert len(list((folder / "test2017").iterdir())) == 3


def test_one_image_is_labelled(folder: Path) -> None:
    images = str(folder / "test2017/000000000016.png")
    predict(str(folder / "model"), images, str(folder / "out"), load=blind)
    assert maps_of(folder) == {"000000000016.png": "000000000016.png"}
    predict(str(folder / "model"), images, str(folder / "out"), image_info=str(folder / "info.json"), load=blind)
    assert json.loads((folder / "out/panoptic.json").read_bytes())["images"][0]["id"] == 16
    images = str(folder / "test2017/000000000001.png")
    with pytest.raises(InputError, match=r"info.json does not list it; add it there, or leave --image-info out"):
        predict(str(folder / "model"), images, str(folder / "out"), image_info=str(folder / "info.json"), load=blind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"II*\0" + bytes(60), "a TIFF file; convert it to JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file; convert it to JPEG or PNG"),
        (png(np.zeros((60, 80, 3), np.uint8)), "80×60 = 4800 pixels, over the limit of 100; make the picture smaller"),
    ],
)
def test_only_small_jpegs_and_pngs_are_decoded(folder: Path, content: bytes, message: str) -> None:
    (folder / "test2017/000000000016.png").write_bytes(content)
    with pytest.raises(InputError, match=r"000000000016\.png: ") as caught:
        labelled(folder, max_pixels=100)
    assert message in caught.value.problems[0]


def test_more_pixels_are_allowed_by_a_setting(folder: Path) -> None:
    (folder / "test2017/000000000016.png").write_bytes(png(np.zeros((60, 80, 3), np.uint8)))
    assert len(labelled(folder, max_pixels=4800)) == 3
    with pytest.raises(InputError, match="--max-pixels = 0: give a positive number"):
        labelled(folder, max_pixels=0)


def test_ground_truth_of_another_size_is_named(folder: Path) -> None:
    (folder / "maps").mkdir()
    (folder / "maps/16.png").write_bytes(png(np.ones((5, 8, 3), np.uint8)))
    truth = {
        "images": [{"id": 16, "file_name": "000000000016.png", "height": 6, "width": 8}],
        "annotations": [
            {"image_id": 16, "file_name": "16.png", "segments_info": [{"id": 65793, "category_id": 7, "iscrowd": 0}]}
        ],
        "categories": CATEGORIES.to_json(),
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"000000000016.png: has 8×6 pixels, its ground truth .*16.png 8×5; correct"):
        labelled(folder, overlays=True, panoptic_json=str(folder / "truth.json"), panoptic_dir=str(folder / "maps"))


def test_a_folder_that_links_to_itself_and_a_pipe_do_not_hang(folder: Path) -> None:
    (folder / "test2017/again").symlink_to(folder / "test2017")
    os.mkfifo(folder / "test2017/pipe.png")
    assert len(labelled(folder)) == 3
    with pytest.raises(InputError, match="a pipe, socket or device"):
        predict(str(folder / "model"), str(folder / "test2017/pipe.png"), str(folder / "one"), load=blind)
    os.mkfifo(folder / "info.pipe")
    with pytest.raises(InputError, match="a pipe, socket or device"):
        labelled(folder, image_info=str(folder / "info.pipe"))


@pytest.mark.parametrize("name", [b"\xff.png", b"a\nb.png", b"\x1b[31m.png"])
def test_a_name_that_cannot_be_printed_is_one_line(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder / "test2017") + b"/" + name)).touch()
    with pytest.raises(InputError) as caught:
        labelled(folder)
    (problem,) = caught.value.problems
    assert problem.isprintable() and "test2017" in problem


@pytest.mark.parametrize("bad", [None, True, -1, 2**63, "x", "../a.png", "/a.png", "a\x00", [], {}, [[1]], 1e300])
@pytest.mark.parametrize("key", ["id", "file_name", "height", "images"])
def test_a_wrong_value_in_a_list_of_images_is_a_line_or_harmless(folder: Path, key: str, bad: Any) -> None:
    document = json.loads((folder / "info.json").read_bytes())
    document["images"][0][key] = bad
    if key == "images":
        document["images"] = bad
    (folder / "info.json").write_text(json.dumps(document))
    if key == "height":
        assert len(labelled(folder, image_info=str(folder / "info.json"))) == 2
        return
    with pytest.raises(InputError) as caught:
        labelled(folder, image_info=str(folder / "info.json"))
    assert all(problem.isprintable() for problem in caught.value.problems) and not (folder / "out").exists()


def test_on_object_storage_the_document_comes_last(folder: Path, s3: str) -> None:
    images, out = storage.join(s3, "images"), storage.join(s3, "labels")
    storage.upload_folder(folder / "test2017", images)
    result = predict(str(folder / "model"), images, out, load=blind)
    assert result.images == 3 and len(storage.list_files(out)) == 4
    one = predict(str(folder / "model"), storage.join(images, "000000000016.png"), storage.join(s3, "x"), load=blind)
    assert one.images == 1
    assert [file.path for file in storage.list_files(storage.join(s3, "x"))] == [
        "panoptic.json",
        "panoptic/000000000016.png",
    ]
    with pytest.raises(InputError, match="inside of --images"):
        predict(str(folder / "model"), images, storage.join(images, "out"), load=blind)


def test_a_full_disk_leaves_nothing_and_the_same_works_with_room(tmp_path: Path, folder: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        disk.fill(spare=8192)
        out = disk.path / "out"
        with pytest.raises(OSError, match="No space"):
            predict(str(folder / "model"), str(folder / "test2017"), str(out), overlays=True, load=blind)
        assert disk.files() == {} and not out.exists()
        disk.free()
        predict(str(folder / "model"), str(folder / "test2017"), str(out), load=blind)
        assert len(disk.files()) == 4
