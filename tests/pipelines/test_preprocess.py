"""From a raw folder to shards: nothing changed, nothing lost, nothing half-written, every defect named."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from aunet.errors import InputError
from pipelines import preprocess as module, storage
from pipelines.config import DataConfig, RunConfig, ShapesConfig, SplitConfig
from pipelines.data.manifest import Manifest, manifest_uri
from pipelines.data.shard_writer import write_shard
from pipelines.data.shards import ShardReader, row_digest
from pipelines.preprocess import preprocess

REPOSITORY = Path(module.__file__).parent.parent


def config_of(root: str | Path, train: str = "train", val: str = "val", **options: Any) -> RunConfig:
    splits = {
        key: SplitConfig(
            images=name, panoptic_json=f"annotations/panoptic_{name}.json", panoptic_dir=f"annotations/panoptic_{name}"
        )
        for key, name in (("train", train), ("val", val))
    }
    return RunConfig(name="test", data=DataConfig(root=str(root), **{**splits, **options}))


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks one after the other in this process, without Ray."""
    monkeypatch.setattr(module, "_in_parallel", lambda tasks: [write_shard(t) for t in tasks])


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    whole = json.loads(path.read_bytes())
    change(whole)
    path.write_text(json.dumps(whole))


def refused(config: RunConfig) -> tuple[str, ...]:
    """The problems, after making sure that nothing was left behind."""
    with pytest.raises(InputError) as caught:
        preprocess(config)
    assert not contents(storage.store_root())
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
        written.append(contents(prepared.uri))
    assert written[0] == written[1]
    assert len(written[0]) == 4, "two shards and one shard, and the manifest"
    manifest = Manifest.load(prepared.uri)
    assert manifest.fingerprint == prepared.fingerprint
    assert [s.num_rows for s in manifest.splits["train"].shards] == [4, 3]

    monkeypatch.setattr(module, "_in_parallel", lambda tasks: pytest.fail("must not run again"))
    assert preprocess(config) == prepared


@pytest.mark.usefixtures("ray_cluster")
def test_problems_found_by_the_tasks_come_back_together(raw: Path) -> None:
    image, ids = raw / "train" / "000001.jpg", raw / "annotations" / "panoptic_val" / "000000.png"
    image.write_bytes(image.read_bytes()[:900])
    ids.write_bytes(ids.read_bytes()[:200])
    first, second = refused(config_of(raw, rows_per_shard=1))
    assert str(image) in first and "truncated" in first and "fetch the file again" in first
    assert str(ids) in second and "cannot be decoded" in second


@pytest.mark.parametrize(
    ("folder", "train", "val"), [("coco_panoptic_mini", "train2017", "val2017"), ("camvid_panoptic", "val", "val")]
)
@pytest.mark.usefixtures("in_process")
def test_real_data_make_the_round_trip(sample_data: Path, folder: str, train: str, val: str) -> None:
    root = sample_data / folder
    prepared = preprocess(config_of(root, train, val, rows_per_shard=16))
    for split, name in (("train", train), ("val", val)):
        whole = json.loads((root / "annotations" / f"panoptic_{name}.json").read_bytes())
        names = {i["id"]: i["file_name"] for i in whole["images"]}
        segments = {a["image_id"]: a for a in whole["annotations"]}
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


@pytest.mark.usefixtures("in_process")
def test_folder_and_s3_give_the_same_content(raw: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = preprocess(config_of(raw))
    storage.upload_folder(raw, storage.join(s3, "data"))
    monkeypatch.setenv("AUNET_STORE", s3)
    config = config_of(storage.join(s3, "data"))
    there = preprocess(config)
    assert there.uri.startswith(s3) and there.fingerprint == here.fingerprint
    assert preprocess(config) == there
    for index in range(5):
        assert ShardReader(there.uri, "train").row(index) == ShardReader(here.uri, "train").row(index)
    manifest = storage.read_bytes(manifest_uri(there.uri))
    assert b"test-key" not in manifest and b"test-secret" not in manifest


@pytest.mark.usefixtures("in_process")
def test_scenes_are_generated_on_s3_too(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(name="test", data=DataConfig(shapes=ShapesConfig(num_train=2, num_val=1, height=64, width=64)))
    here = preprocess(config)
    monkeypatch.setenv("AUNET_STORE", s3)
    assert preprocess(config).fingerprint == here.fingerprint


@pytest.mark.usefixtures("in_process")
def test_new_times_make_a_new_source_but_the_same_content(raw: Path) -> None:
    first = preprocess(config_of(raw))
    os.utime(raw / "train" / "000000.jpg", (1, 1))
    second = preprocess(config_of(raw))
    assert second.uri != first.uri and second.fingerprint == first.fingerprint


@pytest.mark.usefixtures("in_process")
def test_chosen_images_come_in_the_chosen_order(raw: Path) -> None:
    config = config_of(raw)
    prepared = preprocess(
        replace(config, data=replace(config.data, train=replace(config.data.train, image_ids=(4, 2))))
    )
    assert ShardReader(prepared.uri, "train").image_ids == [4, 2]


@pytest.mark.usefixtures("in_process")
def test_instances_travel_with_their_images(raw: Path) -> None:
    names = {
        c["name"]: c["id"] for c in json.loads((raw / "annotations/panoptic_train.json").read_bytes())["categories"]
    }
    entry = {
        "image_id": 2,
        "category_id": names["ball"],
        "bbox": [4, 5, 6, 7.5],
        "segmentation": [[4, 5, 10, 5, 10, 12]],
    }
    (raw / "instances.json").write_text(json.dumps({"annotations": [entry]}))
    config = config_of(raw)
    train = replace(config.data.train, instances_json="instances.json")
    reader = ShardReader(preprocess(replace(config, data=replace(config.data, train=train))).uri, "train")
    assert reader.row(0)["instances"] == []
    (instance,) = reader.row(1)["instances"]
    assert (instance["category_id"], instance["is_crowd"], instance["bbox"]) == (names["ball"], False, [4, 5, 6, 7.5])
    assert ShardReader(preprocess(config).uri, "train").row(1)["instances"] is None


@pytest.mark.usefixtures("in_process")
def test_the_manifest_counts_what_is_there(raw: Path) -> None:
    split = Manifest.load(preprocess(config_of(raw)).uri).splits["train"]
    rows = [s["category_id"] for a in json.loads((raw / "annotations/panoptic_train.json").read_bytes())["annotations"]
            for s in a["segments_info"]]  # fmt: skip
    assert {k: v for k, v in split.num_segments.items() if v} == {k: rows.count(k) for k in set(rows)}
    assert split.num_images == sum(s.num_rows for s in split.shards) == 5


# Bad input, each its own


@pytest.mark.usefixtures("in_process")
def test_an_id_in_the_png_but_not_in_the_json(raw: Path) -> None:
    path = raw / "annotations/panoptic_train/000003.png"
    ids = decode_panoptic(path.read_bytes())
    ids[10:12, 20:25] = 77
    path.write_bytes(encode_panoptic(ids))
    (problem,) = refused(config_of(raw))
    assert f"{path}: id 77 (10 pixels) is not in segments_info of image 4" in problem and "add the segment" in problem


@pytest.mark.usefixtures("in_process")
def test_an_id_in_the_json_but_not_in_the_png(raw: Path) -> None:
    entry = {"id": 88, "category_id": 1, "iscrowd": 0, "area": 5, "bbox": [0, 0, 1, 5]}
    change_json(
        raw / "annotations/panoptic_val.json", lambda whole: whole["annotations"][1]["segments_info"].append(entry)
    )
    (problem,) = refused(config_of(raw))
    assert "000001.png: no pixel has id 88, a segment of image 2" in problem and "drop the segment" in problem


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ["train/000000.jpg", "annotations/panoptic_train/000000.png"])
def test_a_wrong_size(raw: Path, name: str) -> None:
    buffer = io.BytesIO()
    Image.open(raw / name).crop((0, 0, 80, 60)).save(buffer, "PNG" if name.endswith("png") else "JPEG")
    (raw / name).write_bytes(buffer.getvalue())
    problem = refused(config_of(raw))[0]
    assert f"{raw / name}: 80×60 pixels, but image 1 has 80×64 in annotations/panoptic_train.json" in problem


@pytest.mark.usefixtures("in_process")
def test_a_truncated_jpeg(raw: Path) -> None:
    path = raw / "train/000004.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    (problem,) = refused(config_of(raw))
    assert str(path) in problem and "truncated" in problem and "fetch the file again" in problem


# Killed


@pytest.mark.faults
def test_a_killed_run_leaves_no_trace_that_matters(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    shapes = ShapesConfig(num_train=30, num_val=2, height=64, width=64)
    config = RunConfig(name="test", data=DataConfig(shapes=shapes, rows_per_shard=1))
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "undisturbed"))
    expected = contents(preprocess(config).uri)

    program = (
        "from pipelines.config import *; from pipelines.preprocess import preprocess;"
        f"preprocess(RunConfig(name='test', data=DataConfig(shapes={shapes!r}, rows_per_shard=1)))"
    )
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "disturbed"))
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=tmp_path, start_new_session=True)
    shards = tmp_path / "disturbed" / "prepared"
    deadline = time.monotonic() + 120
    while not list(shards.rglob("*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(shards.rglob("manifest.json")), "killed too late"

    prepared = preprocess(config)
    after = contents(prepared.uri)
    assert {name: after[name] for name in expected} == expected
    assert all(name.startswith("shards/") for name in set(after) - set(expected))


def test_pixels_decoded_from_a_shard_equal_the_scene(raw: Path, in_process: None) -> None:
    row = ShardReader(preprocess(config_of(raw)).uri, "val").row(0)
    ids = decode_panoptic((raw / "annotations/panoptic_val/000000.png").read_bytes())
    assert np.array_equal(decode_panoptic(row["panoptic"]), ids)
