"""Real annotations, written in other formats and imported again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipelines.import_data import import_data
from tests.conftest import NEEDS_SAMPLE_DATA, SAMPLE_DATA
from tests.importers.panoptic_writers import write_cityscapes
from tests.importers.scenes import Original, assert_equal_pixels, imported_quality, read_original
from tests.importers.writers import write_coco, write_labelme

SAMPLES = os.environ.get(SAMPLE_DATA)
pytestmark = pytest.mark.skipif(not SAMPLES, reason=NEEDS_SAMPLE_DATA)


def sample(name: str, split: str) -> Original:
    return read_original(Path(SAMPLES or "") / name, split, split)


@pytest.fixture(scope="module")
def coco() -> Original:
    return sample("coco_panoptic_mini", "train2017")


@pytest.fixture(scope="module")
def streets() -> Original:
    streets = sample("camvid_panoptic", "val")
    return Original(streets.json_path, streets.maps, streets.samples[::25], streets.categories)


def test_coco_things_over_stuff(coco: Original, tmp_path: Path) -> None:
    write_coco(coco, tmp_path)
    result = import_data(
        "coco",
        str(tmp_path / "out"),
        images=str(tmp_path / "images"),
        annotations=str(tmp_path / "instances.json"),
        stuff_json=str(tmp_path / "stuff.json"),
    )
    assert result.images == len(coco.samples)
    assert_equal_pixels(coco, tmp_path / "out")
    assert imported_quality(coco, tmp_path / "out")["PQ"] == 100


def test_cityscapes_names_of_cities_are_found(coco: Original, tmp_path: Path) -> None:
    write_cityscapes(coco, tmp_path)
    import_data(
        "cityscapes",
        str(tmp_path / "out"),
        images=str(tmp_path / "leftImg8bit/train"),
        annotations=str(tmp_path / "gtFine/cityscapes_panoptic_train.json"),
    )
    assert imported_quality(coco, tmp_path / "out")["PQ"] == 100


def test_the_cityscapes_sample_of_train_ids(tmp_path: Path) -> None:
    root = Path(SAMPLES or "") / "cityscapes_format_sample"
    source = root / "gtFine/cityscapes_panoptic_dummy_trainId.json"
    result = import_data("cityscapes", str(tmp_path), images=str(root / "leftImg8bit"), annotations=str(source))
    made = json.loads((tmp_path / "annotations/panoptic_train.json").read_text())["annotations"][0]["segments_info"]
    given = json.loads(source.read_text())["annotations"][0]["segments_info"]
    assert (result.images, result.exit_code, len(result.categories)) == (1, 0, 19)
    keys = ("category_id", "area", "iscrowd")
    assert sorted([s[k] for k in keys] for s in made) == sorted([s[k] for k in keys] for s in given)


@pytest.mark.parametrize(("masks", "least"), [(True, 100.0), (False, 85.0)])
def test_camvid_as_labelme(
    streets: Original, tmp_path: Path, masks: bool, least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labelme(streets, tmp_path / "in", masks=masks)
    import_data("labelme", str(tmp_path / "out"), data=str(tmp_path / "in"), things=[streets.things])
    document = json.loads(streets.json_path.read_text())
    kept = {s.name for s in streets.samples}
    document["images"] = [i for i in document["images"] if Path(i["file_name"]).stem in kept]
    ids = {i["id"] for i in document["images"]}
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in ids]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    truth = Original(tmp_path / "truth.json", streets.maps, streets.samples, streets.categories)
    metrics = imported_quality(truth, tmp_path / "out")
    with capsys.disabled():
        print(f"\nCamVid as LabelMe {'masks' if masks else 'polygons'}: PQ {metrics['PQ']:.2f} RQ {metrics['RQ']:.2f}")
    assert least <= metrics["PQ"] <= 100
