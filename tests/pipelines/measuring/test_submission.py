"""Submissions to test servers: what is in the zip, and what is noticed before somebody uploads it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.data import cityscapes
from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from aunet.errors import InputError
from pipelines.measuring.submission import Kind, ServerSubmission, write_submission
from tests.pipelines.labelling import labelled, new_folder
from tests.tiny import CATEGORIES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Predictions for two images, and the list of the test set."""
    ids = np.repeat([[0, 3, 7]], 4, axis=0)
    (tmp_path / "panoptic").mkdir()
    images, annotations = [], []
    for number in (16, 19):
        name = f"{number:012d}"
        (tmp_path / "panoptic" / f"{name}.png").write_bytes(encode_panoptic(ids))
        images.append({"id": number, "file_name": f"{name}.jpg", "height": 4, "width": 3})
        segments = [{"id": i, "category_id": c, "area": 4, "iscrowd": 0} for i, c in ((3, 3), (7, 12))]
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES.to_json()}
    (tmp_path / "panoptic.json").write_text(json.dumps(document))
    (tmp_path / "image_info_test-dev2017.json").write_text(json.dumps({"images": images}))
    return tmp_path


def written(folder: Path, kind: Kind = "coco", **changes: Any) -> str:
    info = None if kind == "cityscapes" else str(folder / "image_info_test-dev2017.json")
    wanted = ServerSubmission(**{"name": "AUNet", "kind": kind, "image_info": info, **changes})
    return write_submission(wanted, str(folder / "panoptic.json"), str(folder / "panoptic"), str(folder / "out"))


def change(folder: Path, edit: Any) -> None:
    document = json.loads((folder / "panoptic.json").read_text())
    edit(document)
    (folder / "panoptic.json").write_text(json.dumps(document))


def test_a_coco_submission(folder: Path) -> None:
    uri = written(folder)
    stem = "panoptic_test-dev2017_AUNet_results"
    assert uri == str(folder / "out" / f"{stem}.zip")
    with zipfile.ZipFile(uri) as archive:
        names = [f"{stem}/000000000016.png", f"{stem}/000000000019.png", f"{stem}.json"]
        assert sorted(archive.namelist()) == sorted(names)
        document = json.loads(archive.read(f"{stem}.json"))
        first = document["annotations"][0]
        assert first["image_id"] == 16 and first["file_name"] == "000000000016.png"
        assert first["segments_info"] == [{"id": 3, "category_id": 3}, {"id": 7, "category_id": 12}]
        assert sorted(np.unique(decode_panoptic(archive.read(names[0])))) == [0, 3, 7]


def fewer(document: Any) -> None:
    del document["images"][0], document["annotations"][0]


def another(document: Any) -> None:
    document["images"][0]["id"] = document["annotations"][0]["image_id"] = 5


def without_a_segment(document: Any) -> None:
    del document["annotations"][0]["segments_info"][0]


def with_another_segment(document: Any) -> None:
    document["annotations"][0]["segments_info"][0]["id"] = 4


def with_another_area(document: Any) -> None:
    document["annotations"][0]["segments_info"][0]["area"] = 5


def of_another_size(document: Any) -> None:
    document["images"][0]["height"] = 5


def of_an_unknown_category(document: Any) -> None:
    document["annotations"][0]["segments_info"][0]["category_id"] = 99


def of_one_name(document: Any) -> None:
    document["annotations"][1]["file_name"] = "more/000000000016.png"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (fewer, r"image 16 \(000000000016\.jpg\) of .*image_info_test-dev2017\.json: no prediction; label all images"),
        (another, r"image 5 \(000000000016\.jpg\): not in .*image_info_test-dev2017\.json; leave it out"),
        (without_a_segment, r"image 16 \(000000000016\.png\): segment 3 is in the PNG, not in the JSON"),
        (with_another_segment, r"image 16 .*: segment 4 is in the JSON, not in the PNG"),
        (with_another_area, r"image 16 .*: segment 3 has 4 pixels, the JSON says 5"),
        (of_another_size, r"image 16 .*: has 3×4 pixels, its image 3×5"),
        (of_an_unknown_category, r"99"),
        (of_one_name, r"000000000016\.png: 2 images of the test set have this name"),
    ],
)
def test_what_a_server_would_refuse(folder: Path, edit: Any, message: str) -> None:
    (folder / "panoptic" / "more").mkdir()
    (folder / "panoptic" / "more" / "000000000016.png").write_bytes(
        (folder / "panoptic" / "000000000016.png").read_bytes()
    )
    change(folder, edit)
    with pytest.raises(InputError, match=message):
        written(folder)
    assert not (folder / "out").exists(), "no zip is written"


def test_a_coco_submission_needs_the_list_of_the_test_set(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--image-info = None: name the JSON of the test set"):
        written(folder, image_info=None)
    with pytest.raises(InputError, match="--submission"):
        written(folder, name="../AUNet")


def test_cityscapes_has_its_own_names_and_categories(folder: Path) -> None:
    with pytest.raises(InputError, match=r"category 3 \(disk\): not one of Cityscapes"):
        written(folder, "cityscapes")

    def as_cityscapes(document: Any) -> None:
        document["categories"] = cityscapes.CATEGORIES.to_json()
        for image, annotation in zip(document["images"], document["annotations"], strict=True):
            image["file_name"] = f"berlin/berlin_000000_{image['id']:06d}_leftImg8bit.png"
            for segment in annotation["segments_info"]:
                segment["category_id"] = 7

    change(folder, as_cityscapes)
    with zipfile.ZipFile(written(folder, "cityscapes")) as archive:
        stem = "cityscapes_panoptic_test_AUNet"
        document = json.loads(archive.read(f"{stem}.json"))
        assert [a["image_id"] for a in document["annotations"]] == ["berlin_000000_000016", "berlin_000000_000019"]
        assert f"{stem}/berlin_000000_000016_panoptic.png" in archive.namelist()


def test_predict_writes_it(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    labelled(folder, image_info=str(folder / "info.json"), submission="AUNet")
    archive = zipfile.ZipFile(io.BytesIO((folder / "out" / "panoptic_info_AUNet_results.zip").read_bytes()))
    assert len(archive.namelist()) == 3
