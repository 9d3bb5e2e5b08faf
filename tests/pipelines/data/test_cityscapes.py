"""A root as Cityscapes is downloaded becomes shards as if the official conversion had come first."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.cityscapes import CATEGORIES, image_id_of
from aunet.data.coco_panoptic import decode_panoptic, rgb_from_ids
from aunet.data.sample import decode_sample
from aunet.errors import InputError
from pipelines import presets
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.settings.overrides import override
from pipelines.settings.run_config import DataConfig, RunConfig, SplitConfig
from pipelines.store import storage
from tests.cityscapes import EVERYTHING, official, paint, png, write_frame
from tests.preparing import preprocess_here

TRAIN = ("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313")
VAL = ("frankfurt_000000_000294", "lindau_000000_000019")


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training cities, two validation cities, and test images without annotation."""
    root = tmp_path_factory.mktemp("cityscapes")
    for split, frames in (("train", TRAIN), ("val", VAL)):
        for number, frame in enumerate(frames):
            shapes = EVERYTHING[number:]
            write_frame(root, split, frame, paint(shapes), shapes)
    void = [("out of roi", 0, 0, 64, 48), ("ego vehicle", 8, 44, 56, 48)]
    write_frame(root, "test", "berlin_000000_000019", paint(void), void)
    return root


@pytest.fixture
def root(downloaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(downloaded, tmp_path / "cityscapes"))


def config_of(root: Path | str, **settings: Any) -> RunConfig:
    """The preset on `root`, with settings of its data changed."""
    changes = {f"data.{name}": value for name, value in settings.items()}
    return override(presets.cityscapes_r50(), {"data.root": str(root), **changes})


def refused(config: RunConfig) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        preprocess_here(config)
    assert not list(Path(storage.store_root()).rglob("manifest.json"))
    return caught.value.problems


def test_the_preset_reads_what_was_downloaded(root: Path) -> None:
    prepared = preprocess_here(config_of(root))
    assert prepared.num_images == {"train": 3, "val": 2}
    assert Manifest.load(prepared.uri).categories == CATEGORIES
    for split, frames in (("train", TRAIN), ("val", VAL)):
        reader = ShardReader(prepared.uri, split)
        assert reader.image_ids == [image_id_of(frame) for frame in frames]
        for number, frame in enumerate(frames):
            row = reader.row(number)
            picture, segments = official(paint(EVERYTHING[number:]))
            city = frame.split("_")[0]
            assert row["file_name"] == f"{city}/{frame}_leftImg8bit.png"
            assert row["image"] == (root / "leftImg8bit" / split / row["file_name"]).read_bytes()
            assert np.array_equal(rgb_from_ids(decode_panoptic(row["panoptic"])), picture)
            assert [{"iscrowd": int(s.pop("is_crowd")), **s} for s in row["segments"]] == segments
            sample = decode_sample(reader.row(number), CATEGORIES)
            seen = [(s.id, s.category_id, s.is_thing, s.area, s.is_crowd) for s in sample.segments]
            assert seen == [
                (s["id"], s["category_id"], s["category_id"] > 23, s["area"], bool(s["iscrowd"])) for s in segments
            ]
            ids = np.array([0, *(s.id for s in sample.segments)])[sample.segment_map]
            assert np.array_equal(rgb_from_ids(ids), picture)


def test_the_official_conversion_gives_the_same_rows(root: Path) -> None:
    folder = root / "converted"
    for split, frames in (("train", TRAIN), ("val", VAL)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number, frame in enumerate(frames):
            picture, segments = official(paint(EVERYTHING[number:]))
            (folder / split / f"{frame}.png").write_bytes(png(picture))
            name = f"{frame.split('_')[0]}/{frame}_leftImg8bit.png"
            images.append({"id": image_id_of(frame), "file_name": name, "height": 48, "width": 64})
            annotations.append({"image_id": image_id_of(frame), "file_name": f"{frame}.png", "segments_info": segments})
        document = {"images": images, "annotations": annotations, "categories": CATEGORIES.to_json()}
        (folder / f"{split}.json").write_text(json.dumps(document))
    splits = {
        split: SplitConfig(
            images=f"leftImg8bit/{split}", panoptic_json=f"converted/{split}.json", panoptic_dir=f"converted/{split}"
        )
        for split in ("train", "val")
    }
    coco = preprocess_here(
        RunConfig(name="test", data=DataConfig(root=str(root), train=splits["train"], val=splits["val"]))
    )
    direct = preprocess_here(config_of(root))
    for split, frames in (("train", TRAIN), ("val", VAL)):
        for number in range(len(frames)):
            own, official_row = (ShardReader(p.uri, split).row(number) for p in (direct, coco))
            assert np.array_equal(decode_panoptic(own.pop("panoptic")), decode_panoptic(official_row.pop("panoptic")))
            assert own.pop("sha256") and official_row.pop("sha256")
            assert own == official_row


def test_object_storage_gives_the_same_content(root: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local = preprocess_here(config_of(root))
    storage.upload_folder(root, storage.join(s3, "cityscapes"))
    monkeypatch.setenv("AUNET_STORE", s3)
    remote = preprocess_here(config_of(storage.join(s3, "cityscapes")))
    assert remote.uri.startswith("s3://") and remote.fingerprint == local.fingerprint


def test_splits_are_cut_by_city(root: Path) -> None:
    cut = {"val.images": "leftImg8bit/train", "val.instance_ids": "gtFine/train", "val.cities": ["bochum"]}
    prepared = preprocess_here(config_of(root, **{"train.cities": ["aachen"], **cut}))
    read = {split: ShardReader(prepared.uri, split).image_ids for split in ("train", "val")}
    assert read == {"train": [image_id_of(f) for f in TRAIN[:2]], "val": [image_id_of(TRAIN[2])]}
    over_all = {"train.images": "leftImg8bit", "train.instance_ids": "gtFine", "train.cities": ["lindau", "aachen"]}
    prepared = preprocess_here(config_of(root, **over_all))
    assert ShardReader(prepared.uri, "train").image_ids == [image_id_of(f) for f in (*TRAIN[:2], VAL[1])]
    chosen = preprocess_here(config_of(root, **{"train.image_ids": [image_id_of(TRAIN[1])]}))
    assert ShardReader(chosen.uri, "train").image_ids == [image_id_of(TRAIN[1])]


def test_coarse_annotations_are_read_alike(root: Path) -> None:
    for path in (root / "gtFine/train").rglob("*_instanceIds.png"):
        path.rename(path.with_name(path.name.replace("gtFine", "gtCoarse")))
    (root / "gtFine/train").rename(root / "coarse")
    assert preprocess_here(config_of(root, **{"train.instance_ids": "coarse"})).num_images == {"train": 3, "val": 2}


# Bad input


def test_every_missing_partner_is_named_at_once(root: Path) -> None:
    (root / "leftImg8bit/train/aachen/aachen_000001_000019_leftImg8bit.png").unlink()
    (root / "gtFine/train/bochum/bochum_000000_000313_gtFine_instanceIds.png").unlink()
    (root / "gtFine/val/lindau/lindau_000000_000019_gtFine_instanceIds.png").unlink()
    problems = [p for p in refused(config_of(root)) if "images cannot be used" not in p]
    assert [p.split(": ", 1)[1] for p in problems] == [
        "gtFine/train/bochum/bochum_000000_000313_*instanceIds.png: missing, the partner of "
        "bochum/bochum_000000_000313_leftImg8bit.png [image-unannotated]; annotate the image or drop it",
        "leftImg8bit/train/aachen/aachen_000001_000019_*leftImg8bit.png: missing, the partner of "
        "aachen/aachen_000001_000019_gtFine_instanceIds.png [annotation-orphan]; add the image or drop the annotation",
        "gtFine/val/lindau/lindau_000000_000019_*instanceIds.png: missing, the partner of "
        "lindau/lindau_000000_000019_leftImg8bit.png [image-unannotated]; annotate the image or drop it",
    ]


def test_missing_folders_and_cities(root: Path) -> None:
    shutil.rmtree(root / "leftImg8bit/val")
    one, two, three = refused(config_of(root, **{"train.cities": ["aachen", "ulm"]}))
    assert f"{root}/leftImg8bit/train: no *_leftImg8bit.png of city 'ulm'; there are aachen, bochum" in one
    assert f"{root}/gtFine/train: no *_instanceIds.png of city 'ulm'" in two
    assert f"{root}/leftImg8bit/val: no such folder" in three


def test_an_empty_split(root: Path) -> None:
    for folder in ("leftImg8bit/val", "gtFine/val"):
        for path in (root / folder).rglob("*.png"):
            path.unlink()
    assert refused(config_of(root)) == (f"{root}/leftImg8bit/val: no images; a data set needs at least one",)


def test_two_images_of_one_name(root: Path) -> None:
    shutil.copytree(root / "leftImg8bit/train/bochum", root / "leftImg8bit/train/ulm")
    shutil.copytree(root / "gtFine/train/bochum", root / "gtFine/train/ulm")
    (problem,) = refused(config_of(root))
    name = "bochum_000000_000313_leftImg8bit.png"
    assert f"bochum/{name} and ulm/{name} have one name; every image needs its own" in problem


def test_damage_inside_the_pictures(root: Path) -> None:
    eight = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
    shutil.copy(eight.with_name(eight.name.replace("instanceIds", "labelIds")), eight)
    odd = root / "gtFine/train/aachen/aachen_000001_000019_gtFine_instanceIds.png"
    values = paint(EVERYTHING)
    values[0, 0] = 34000
    odd.write_bytes(png(values))
    small = root / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    buffer = io.BytesIO()
    Image.open(small).crop((0, 0, 60, 48)).save(buffer, "PNG")
    small.write_bytes(buffer.getvalue())
    one, two, _, three, _ = refused(config_of(root))
    assert f"{eight.relative_to(root)}: a PNG of mode 'L': instanceIds are a grey 16-bit PNG" in one
    assert f"{odd.relative_to(root)}: value 34000 (1 pixels) belongs to no label of Cityscapes" in two
    assert f"image {image_id_of(VAL[1])}: {small.relative_to(root)}: JSON 64×48, image 60×48, map 64×48" in three
    assert "[size-mismatch]" in three
    assert preprocess_here(config_of(root, max_bad_fraction=0.7)).num_quarantined == {"train": 2, "val": 1}


def test_the_test_split_cannot_be_trained_on(root: Path) -> None:
    (problem,) = refused(config_of(root, **{"val.images": "leftImg8bit/test", "val.instance_ids": "gtFine/test"}))
    assert problem.startswith("data.val: none of its 1 images has a segment; they can be labelled with `predict`")


def test_the_official_json_is_refused_with_the_way_out(root: Path) -> None:
    image = {"id": "aachen_000000_000019", "file_name": "aachen_000000_000019_gtFine_leftImg8bit.png"}
    document = {"images": [{**image, "height": 48, "width": 64}], "annotations": [], "categories": CATEGORIES.to_json()}
    (root / "gtFine/train.json").write_text(json.dumps(document))
    coco = {"train.instance_ids": "", "train.panoptic_json": "gtFine/train.json", "train.panoptic_dir": "gtFine"}
    (problem,) = refused(config_of(root, **coco))
    assert "image id 'aachen_000000_000019' is not a number" in problem and "as instance_ids" in problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"panoptic_json": "a.json"},
            "data.train.instance_ids = 'gtFine/train': give this or the files in COCO format",
        ),
        ({"instances_json": "a.json"}, "give this or the files in COCO format, not both"),
        ({"instance_ids": ""}, "data.train.panoptic_json, panoptic_dir = ('', ''): give both, or instance_ids"),
        ({"instance_ids": "", "panoptic_json": "a.json"}, "panoptic_dir = ('a.json', ''): give both"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        config_of("data", **{f"train.{name}": value for name, value in changes.items()})
    assert message in str(caught.value)


def test_only_cityscapes_has_cities() -> None:
    with pytest.raises(InputError, match=r"data\.val\.cities = \('ulm',\): only Cityscapes has cities"):
        DataConfig(root="x", val=replace(DataConfig(root="x").val, cities=("ulm",)))
