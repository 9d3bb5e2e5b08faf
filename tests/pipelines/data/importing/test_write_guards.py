"""An import never writes where it reads, nor over files that it did not write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from pipelines.data.importing.write_guards import check_apart, check_outside
from pipelines.import_data import ImportedData, import_data
from pipelines.store.panoptic_folder import PanopticFolder
from tests.importers.writers import png, put
from tests.preparing import contents

TURNED = Image.Exif()
TURNED[0x0112] = 6
PIXELS = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)


def photo(path: Path) -> None:
    """A photo as cameras write it: turned by a tag, so that the import stores it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path, exif=TURNED)


def write_coco(folder: Path) -> dict[str, Any]:
    """COCO as it is unpacked: images beside annotations."""
    photo(folder / "train2017/a.jpg")
    square = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [[2, 2, 9, 2, 9, 9]], "iscrowd": 0}
    image = {"id": 7, "file_name": "a.jpg", "width": 16, "height": 12}
    document = {"images": [image], "annotations": [square], "categories": [{"id": 1, "name": "cat"}]}
    put(folder / "annotations/instances_train2017.json", json.dumps(document))
    return {
        "images": str(folder / "train2017"),
        "annotations": str(folder / "annotations/instances_train2017.json"),
        "workers": 1,
    }


def write_masks(images: Path, masks: Path, palette: Path) -> dict[str, Any]:
    photo(images / "a.jpg")
    put(masks / "a.png", png(np.ones((12, 16), dtype=np.uint8)))
    put(palette, "1 road\n")
    paths = {"images": str(images), "annotations": str(masks), "palette": str(palette)}
    return {**paths, "things": ["none"], "workers": 1}


def test_photos_are_not_replaced_where_the_split_is_their_folder(tmp_path: Path) -> None:
    options = write_coco(tmp_path / "coco")
    before = contents(tmp_path)
    with pytest.raises(
        InputError, match=r"into .*coco/train2017, which is .*, which is read; give another --out or --"
    ):
        import_data("coco", str(tmp_path / "coco"), split="train2017", **options)
    assert contents(tmp_path) == before
    assert import_data("coco", str(tmp_path / "coco"), split="train", **options).images == 1
    assert before.items() <= contents(tmp_path).items()


def test_nor_where_a_link_leads_there(tmp_path: Path) -> None:
    options = write_coco(tmp_path / "coco")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/train").symlink_to(tmp_path / "coco/train2017")
    before = contents(tmp_path / "coco")
    with pytest.raises(InputError, match=r"which is .*coco/train2017, which is read"):
        import_data("coco", str(tmp_path / "out"), **options)
    options["images"] = str(tmp_path / "out/train")
    with pytest.raises(InputError, match="which is read"):
        import_data("coco", str(tmp_path / "coco"), split="train2017", **options)
    assert contents(tmp_path / "coco") == before


def test_nor_through_links_to_single_photos(tmp_path: Path) -> None:
    """A selection of links: another folder, the same photos."""
    options = write_coco(tmp_path / "coco")
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen/a.jpg").symlink_to(tmp_path / "coco/train2017/a.jpg")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"train2017: holds a\.jpg, and no unfinished import is known that wrote it"):
        import_data(
            "coco", str(tmp_path / "coco"), split="train2017", **{**options, "images": str(tmp_path / "chosen")}
        )
    assert contents(tmp_path) == before


def test_nor_above_or_below_what_is_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    above = write_masks(root / "train/photos", tmp_path / "masks", tmp_path / "palette.txt")
    with pytest.raises(InputError, match=r"which holds .*data/train/photos, which is read"):
        import_data("masks", str(root), **above)
    below = write_masks(tmp_path / "photos", tmp_path / "b/annotations", tmp_path / "palette.txt")
    with pytest.raises(InputError, match=r"panoptic_train, which lies in .*b/annotations, which is read"):
        import_data("masks", str(tmp_path / "b"), **below)
    both = write_masks(tmp_path / "c/val", tmp_path / "masks", tmp_path / "palette.txt")
    with pytest.raises(InputError, match="c/val, which is"):
        import_data("masks", str(tmp_path / "c"), val_share=0.5, **both)


LABELME = {"shapes": [{"label": "cat", "points": [[2, 2], [9, 2], [9, 9]]}], "imagePath": "a.jpg"}


def labelme(root: Path) -> ImportedData:
    photo(root / "mine/a.jpg")
    put(root / "mine/a.json", json.dumps(LABELME))
    return import_data("labelme", str(root), data=str(root / "mine"), things=["all"], split="mine", workers=1)


def voc(root: Path) -> ImportedData:
    photo(root / "mine/a.jpg")
    put(root / "voc/SegmentationClass/a.png", png(np.ones((12, 16), dtype=np.uint8)))
    options = {"data": str(root / "voc"), "images": str(root / "mine"), "components": True}
    return import_data("voc", str(root), split="mine", workers=1, **options)


def cvat(root: Path) -> ImportedData:
    photo(root / "mine/a.jpg")
    box = '<box label="cat" xtl="1" ytl="1" xbr="5" ybr="4"/>'
    labels = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    image = f'<image id="0" name="a.jpg" width="16" height="12">{box}</image>'
    put(root / "a.xml", f"<annotations>{labels}{image}</annotations>")
    options = {"images": str(root / "mine"), "annotations": str(root / "a.xml"), "things": ["all"]}
    return import_data("cvat", str(root), split="mine", workers=1, **options)


def cityscapes_maps(root: Path) -> ImportedData:
    """The maps that are read are those that would be written."""
    photo(root / "photos/a.jpg")
    put(root / "annotations/panoptic_mine/a.png", png(PIXELS))
    document = {"annotations": [], "categories": [{"id": 1, "name": "cat", "isthing": 1}]}
    put(root / "gtFine.json", json.dumps(document))
    (root / "gtFine").symlink_to(root / "annotations/panoptic_mine")
    photos, annotations = str(root / "photos"), str(root / "gtFine.json")
    return import_data("cityscapes", str(root), images=photos, annotations=annotations, split="mine", workers=1)


def linked(root: Path, images: Path) -> None:
    """The split's folder is a link to images that the format finds by itself."""
    photo(images / "a.jpg")
    (root / "out").mkdir()
    (root / "out/train").symlink_to(images)


def mapillary(root: Path) -> ImportedData:
    linked(root, root / "in/training/images")
    put(root / "in/training/v2.0/instances/a.png", png(np.zeros((12, 16), dtype=np.uint16)))
    label = {"name": "cat", "instances": True, "evaluate": True, "color": [1, 2, 3]}
    put(root / "in/config_v2.0.json", json.dumps({"labels": [label]}))
    return import_data("mapillary", str(root / "out"), data=str(root / "in"), workers=1)


def ade20k(root: Path) -> ImportedData:
    linked(root, root / "in/images/training")
    put(root / "in/objectInfo150.txt", "1\t0.1\t5\t5\t0\tcat")
    put(root / "in/categoryMapping.txt", "1\t1\tcat")
    put(root / "in/annotations/training/a.png", png(np.ones((12, 16), dtype=np.uint8)))
    put(root / "in/annotations_instance/training/a.png", png(PIXELS))
    return import_data("ade20k", str(root / "out"), data=str(root / "in"), workers=1)


@pytest.mark.parametrize("import_onto_source", [labelme, voc, cvat, cityscapes_maps, mapillary, ade20k])
def test_no_format_writes_where_it_reads(import_onto_source: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"would write into .*, which is .*, which is read; give another --out"):
        import_onto_source(tmp_path)
    written = [path for path in contents(tmp_path) if path.endswith(".jpg")]
    assert written and all(Image.open(tmp_path / path).getexif()[0x0112] == 6 for path in written)
    assert not list(tmp_path.rglob(".import_*"))


@pytest.mark.parametrize("occupied", ["train/a.jpg", "train/x/other.jpg", "annotations/panoptic_train/a.png"])
def test_files_of_others_are_not_written_over(occupied: str, tmp_path: Path) -> None:
    options = write_coco(tmp_path / "coco")
    put(tmp_path / "out" / occupied, b"mine")
    with pytest.raises(InputError, match=f"holds {occupied.split('train/', 1)[1]}, and no unfinished import"):
        import_data("coco", str(tmp_path / "out"), **options)
    assert contents(tmp_path / "out") == {occupied: b"mine"}
    assert import_data("coco", str(tmp_path / "out"), split="val", **options).images == 1


def test_on_a_bucket_prefixes_are_compared() -> None:
    out = PanopticFolder("s3://data/coco", "train2017")
    check_apart(out, ["s3://data/coco/train", "s3://other/coco/train2017", "coco/train2017"])
    with pytest.raises(InputError, match="which is s3://data/coco/train2017/, which is read"):
        check_apart(out, ["s3://data/coco/train2017/"])
    with pytest.raises(InputError, match="is inside s3://data/coco, which is read"):
        check_outside("s3://data/coco/out", "s3://data/coco")


def test_an_out_that_leads_into_the_source_by_a_link_is_refused(tmp_path: Path) -> None:
    options = write_coco(tmp_path / "coco")
    os.symlink(tmp_path / "coco/train2017", tmp_path / "out")
    with pytest.raises(InputError, match=r"is inside .*train2017, which is read"):
        import_data("coco", str(tmp_path / "out"), **options)
