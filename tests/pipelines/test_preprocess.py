"""From a raw folder to shards: nothing changed, nothing lost, nothing half-written, every defect named."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from aunet.data.shapes import write_scenes
from aunet.errors import InputError
from pipelines import preprocess as module
from pipelines.data.manifest import Manifest
from pipelines.data.preparation import Tasks
from pipelines.data.rows import row_digest
from pipelines.data.shard_writer import ShardResult, write_shard
from pipelines.data.shards import ShardReader
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import DataConfig, RunConfig, ShapesConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder
from tests.preparing import config_of, contents, preprocess_here

REPOSITORY = Path(module.__file__).parent.parent


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def refused(config: RunConfig, stage: Callable[[RunConfig], object] = preprocess_here) -> tuple[str, ...]:
    """The problems, after making sure that nothing was committed."""
    with pytest.raises(InputError) as caught:
        stage(config)
    assert not list(Path(storage.store_root()).rglob("manifest.json"))
    return caught.value.problems


# Whole runs


@pytest.mark.usefixtures("ray_cluster")
def test_shapes_become_shards_once_and_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = DataConfig(shapes=ShapesConfig(num_train=7, num_val=3, height=64, width=80), rows_per_shard=4)
    config = RunConfig(name="test", data=data)
    written = []
    for name in ("one", "two"):
        monkeypatch.setenv("AUNET_STORE", str(tmp_path / name))
        prepared = preprocess(config)
        assert prepared.num_images == {"train": 7, "val": 3}
        assert prepared.uri.startswith(str(tmp_path / name / "prepared"))
        written.append(contents(tmp_path / name / "prepared"))
    assert written[0] == written[1]
    manifest = Manifest.load(prepared.uri)
    assert manifest.fingerprint == prepared.fingerprint
    sizes = [s.num_rows for s in manifest.splits["train"].shards]
    assert sum(sizes) == 7 and max(sizes) <= 4 and min(sizes[:-1]) >= 2
    shards = {f"shards/{s.name}" for split in manifest.splits.values() for s in split.shards}
    assert {name for name in written[0] if name.startswith("shards/")} == shards

    assert preprocess(config, run_tasks=lambda tasks: pytest.fail("must not run again")) == prepared


@pytest.mark.usefixtures("ray_cluster")
def test_problems_found_by_the_tasks_come_back_together(raw: Path) -> None:
    image, ids = raw / "train" / "000001.jpg", raw / "annotations" / "panoptic_val" / "000000.png"
    image.write_bytes(image.read_bytes()[:900])
    ids.write_bytes(ids.read_bytes()[:200])
    first, one, second, other = refused(config_of(raw, rows_per_shard=1), preprocess)
    assert str(image.relative_to(raw)) in first and "[image-truncated]; fetch the file again" in first
    assert str(ids.relative_to(raw)) in second and "cannot be decoded" in second and "[map-unreadable]" in second
    assert "data.train: 1 of 5 images cannot be used (20.00%)" in one
    assert "data.val: 1 of 2 images cannot be used (50.00%)" in other


@pytest.mark.parametrize(
    ("folder", "train", "val"), [("coco_panoptic_mini", "train2017", "val2017"), ("camvid_panoptic", "val", "val")]
)
def test_real_data_make_the_round_trip(sample_data: Path, folder: str, train: str, val: str) -> None:
    root = sample_data / folder
    prepared = preprocess_here(config_of(root, train, val, rows_per_shard=16))
    for split, name in (("train", train), ("val", val)):
        document = json.loads((root / "annotations" / f"panoptic_{name}.json").read_bytes())
        names = {i["id"]: i["file_name"] for i in document["images"]}
        segments = {a["image_id"]: a for a in document["annotations"]}
        reader = ShardReader(prepared.uri, split)
        assert reader.image_ids == list(names)
        for index, image_id in enumerate(reader.image_ids):
            row = reader.row(index)
            assert row["sha256"] == row_digest(row)
            assert row["image"] == (root / name / names[image_id]).read_bytes()
            png = (root / "annotations" / f"panoptic_{name}" / segments[image_id]["file_name"]).read_bytes()
            assert row["panoptic"] == png
            assert encode_panoptic(decode_panoptic(row["panoptic"])) == encode_panoptic(decode_panoptic(png))
            keys = ("id", "category_id", "area", "bbox")
            assert [{**{k: s[k] for k in keys}, "iscrowd": int(s["is_crowd"])} for s in row["segments"]] == [
                {**{k: s[k] for k in keys}, "iscrowd": s["iscrowd"]} for s in segments[image_id]["segments_info"]
            ]


def test_folder_and_s3_give_the_same_content(raw: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local = preprocess_here(config_of(raw))
    storage.upload_folder(raw, storage.join(s3, "data"))
    monkeypatch.setenv("AUNET_STORE", s3)
    config = config_of(storage.join(s3, "data"))
    remote = preprocess_here(config)
    assert remote.uri.startswith(s3) and remote.fingerprint == local.fingerprint
    assert preprocess_here(config) == remote
    for index in range(5):
        assert ShardReader(remote.uri, "train").row(index) == ShardReader(local.uri, "train").row(index)
    manifest = storage.read_bytes(PreparedFolder(remote.uri).manifest_uri)
    assert b"test-key" not in manifest and b"test-secret" not in manifest


def test_scenes_are_generated_on_s3_too(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(name="test", data=DataConfig(shapes=ShapesConfig(num_train=2, num_val=1, height=64, width=64)))
    local = preprocess_here(config)
    monkeypatch.setenv("AUNET_STORE", s3)
    assert preprocess_here(config).fingerprint == local.fingerprint


def test_new_times_make_a_new_source_but_the_same_content(raw: Path) -> None:
    first = preprocess_here(config_of(raw))
    os.utime(raw / "train" / "000000.jpg", (1, 1))
    second = preprocess_here(config_of(raw))
    assert second.uri != first.uri and second.fingerprint == first.fingerprint


def test_chosen_images_come_in_the_chosen_order(raw: Path) -> None:
    config = config_of(raw)
    prepared = preprocess_here(
        replace(config, data=replace(config.data, train=replace(config.data.train, image_ids=(4, 2))))
    )
    assert ShardReader(prepared.uri, "train").image_ids == [4, 2]


def test_instances_travel_with_their_images(raw: Path) -> None:
    names = {
        c["name"]: c["id"] for c in json.loads((raw / "annotations/panoptic_train.json").read_bytes())["categories"]
    }
    entry = {
        "category_id": names["ball"],
        "bbox": [4, 5, 6, 7.5],
        "segmentation": [[4, 5, 10, 5, 10, 12]],
    }
    entries = [{**entry, "image_id": image_id} for image_id in (1, 2, 4, 5)]  # the third image has no thing
    (raw / "instances.json").write_text(json.dumps({"annotations": entries}))
    config = config_of(raw)
    train = replace(config.data.train, instances_json="instances.json")
    reader = ShardReader(preprocess_here(replace(config, data=replace(config.data, train=train))).uri, "train")
    assert reader.row(2)["instances"] == []
    (instance,) = reader.row(1)["instances"]
    assert (instance["category_id"], instance["is_crowd"], instance["bbox"]) == (names["ball"], False, [4, 5, 6, 7.5])
    assert ShardReader(preprocess_here(config).uri, "train").row(1)["instances"] is None


def test_the_manifest_counts_what_is_there(raw: Path) -> None:
    split = Manifest.load(preprocess_here(config_of(raw)).uri).splits["train"]
    annotations = json.loads((raw / "annotations/panoptic_train.json").read_bytes())["annotations"]
    rows = [s["category_id"] for annotation in annotations for s in annotation["segments_info"]]
    assert {k: v for k, v in split.num_segments.items() if v} == {k: rows.count(k) for k in set(rows)}
    assert split.num_images == sum(s.num_rows for s in split.shards) == 5


# Bad input, each its own


def test_an_id_in_the_png_but_not_in_the_json(raw: Path) -> None:
    path = raw / "annotations/panoptic_train/000003.png"
    ids = decode_panoptic(path.read_bytes())
    ids[10:12, 20:25] = 77
    path.write_bytes(encode_panoptic(ids))
    problem, _ = refused(config_of(raw))
    assert "data.train, image 4: annotations/panoptic_train/000003.png: id 77 has 10 pixels" in problem
    assert problem.endswith("but no segment [segment-not-in-json]; add the segment or paint it void (0)")


def test_an_id_in_the_json_but_not_in_the_png(raw: Path) -> None:
    entry = {"id": 88, "category_id": 1, "iscrowd": 0, "area": 5, "bbox": [0, 0, 1, 5]}
    change_json(
        raw / "annotations/panoptic_val.json",
        lambda document: document["annotations"][1]["segments_info"].append(entry),
    )
    problem, _ = refused(config_of(raw))
    assert "data.val, image 2: annotations/panoptic_val/000001.png: segment 88" in problem
    assert problem.endswith("has no pixel [segment-not-in-map]; paint it or drop the segment")


@pytest.mark.parametrize("name", ["train/000000.jpg", "annotations/panoptic_train/000000.png"])
def test_a_wrong_size(raw: Path, name: str) -> None:
    buffer = io.BytesIO()
    Image.open(raw / name).crop((0, 0, 80, 60)).save(buffer, "PNG" if name.endswith("png") else "JPEG")
    (raw / name).write_bytes(buffer.getvalue())
    *_, problem, _ = refused(config_of(raw))
    odd = "image 80×60, map 80×64" if name.endswith("jpg") else "image 80×64, map 80×60"
    assert f"data.train, image 1: train/000000.jpg: JSON 80×64, {odd} [size-mismatch]" in problem


def test_wrong_areas_and_boxes_are_counted_anew(raw: Path) -> None:
    expected = ShardReader(preprocess_here(config_of(raw)).uri, "train").row(0)
    change_json(
        raw / "annotations/panoptic_train.json",
        lambda document: document["annotations"][0]["segments_info"][0].update(area=1, bbox=[0, 0, 1, 1]),
    )
    assert ShardReader(preprocess_here(config_of(raw)).uri, "train").row(0) == expected


def test_a_16_bit_map_is_refused_before_bits_are_lost(raw: Path) -> None:
    path = raw / "annotations/panoptic_train/000000.png"
    data = bytearray(path.read_bytes())
    data[24] = 16
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    problem, _ = refused(config_of(raw))
    assert "image 1: annotations/panoptic_train/000000.png: PNG of mode RGB, 16 bits per channel [map-mode]" in problem


# Quarantine


def test_what_is_left_out_is_counted_and_named(raw: Path) -> None:
    (raw / "train/000001.jpg").write_bytes(b"<html>not found</html>")
    (raw / "annotations/panoptic_train/000003.png").unlink()
    *problems, summary = refused(config_of(raw))
    assert [p.split(":")[0] for p in problems] == ["data.train, image 4"], "nothing is opened where that is enough"
    assert "1 of 5 images cannot be used" in summary

    *problems, summary = refused(config_of(raw, max_bad_fraction=0.2))
    assert [p.split(":")[0] for p in problems] == ["data.train, image 4", "data.train, image 2"]
    assert "2 of 5 images cannot be used (40.00%), data.max_bad_fraction = 0.2 allows 1" in summary

    prepared = preprocess_here(config_of(raw, max_bad_fraction=0.4))
    assert (prepared.num_images, prepared.num_quarantined) == ({"train": 3, "val": 2}, {"train": 2, "val": 0})
    split = Manifest.load(prepared.uri).splits["train"]
    assert {(q.image, q.rule) for q in split.quarantined} == {(4, "map-missing"), (2, "image-not-picture")}
    assert ShardReader(prepared.uri, "train").image_ids == [1, 3, 5]
    assert preprocess_here(config_of(raw, max_bad_fraction=0.9)) == prepared
    with pytest.raises(InputError, match=r"data.train: 2 of 5 images were left out, data.max_bad_fraction = 0.3"):
        preprocess_here(config_of(raw, max_bad_fraction=0.3))


# More data


def test_new_images_make_a_new_manifest_of_the_old_shards(tmp_path: Path) -> None:
    write_scenes(tmp_path / "raw", num_train=24, num_val=2, height=64, width=64)
    path = tmp_path / "raw/annotations/panoptic_train.json"
    document = json.loads(path.read_bytes())
    config = config_of(tmp_path / "raw", rows_per_shard=4)
    done: list[int] = []

    def count(tasks: Tasks) -> list[ShardResult]:
        done.append(sum(len(task.images) for task in tasks))
        return [write_shard(task) for task in tasks]

    manifests = []
    for number in (20, 24):
        some = {key: document[key][:number] for key in ("images", "annotations")}
        path.write_text(json.dumps({**document, **some}))
        manifests.append(Manifest.load(preprocess(config, run_tasks=count).uri))
    assert done[0] == 20 + 2 and 4 <= done[1] <= 8, "the last part, and what is new"
    before, after = (m.splits["train"].shards for m in manifests)
    assert after[: len(before) - 1] == before[:-1]
    assert manifests[0].split_fingerprint("val") == manifests[1].split_fingerprint("val")
    assert manifests[0].fingerprint != manifests[1].fingerprint


def test_pixels_decoded_from_a_shard_equal_the_scene(raw: Path) -> None:
    row = ShardReader(preprocess_here(config_of(raw)).uri, "val").row(0)
    ids = decode_panoptic((raw / "annotations/panoptic_val/000000.png").read_bytes())
    assert np.array_equal(decode_panoptic(row["panoptic"]), ids)
