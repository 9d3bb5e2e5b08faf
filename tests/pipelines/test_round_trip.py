"""COCO panoptic files → shards → COCO panoptic files: the same ids in every pixel, the same segments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.settings.run_config import DataConfig, RunConfig, SplitConfig
from tests.preparing import preprocess_here


def write_back(prepared_uri: str, split: str, folder: Path) -> None:
    """A split's shards as `<folder>/<split>.json` and `<folder>/<split>/*.png`, every pixel encoded anew."""
    reader = ShardReader(prepared_uri, split)
    images, annotations = [], []
    (folder / split).mkdir(parents=True)
    for number in range(len(reader)):
        row = reader.row(number)
        name = f"{row['image_id']}.png"
        (folder / split / name).write_bytes(encode_panoptic(decode_panoptic(row["panoptic"])))
        images.append({"id": row["image_id"], **{k: row[k] for k in ("file_name", "height", "width")}})
        segments = [{"iscrowd": int(s.pop("is_crowd")), **s} for s in row["segments"]]
        annotations.append({"image_id": row["image_id"], "file_name": name, "segments_info": segments})
    categories = Manifest.load(prepared_uri).categories.to_json()
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(document))


def assert_round_trip(root: Path, names: dict[str, str], folder: Path) -> int:
    splits = {
        split: SplitConfig(
            images=name, panoptic_json=f"annotations/panoptic_{name}.json", panoptic_dir=f"annotations/panoptic_{name}"
        )
        for split, name in names.items()
    }
    data = DataConfig(root=str(root), train=splits["train"], val=splits["val"], rows_per_shard=7)
    prepared = preprocess_here(RunConfig(name="test", data=data))
    crowds = 0
    for split, config in splits.items():
        write_back(prepared.uri, split, folder)
        before = read_panoptic_json((root / config.panoptic_json).read_bytes(), "before")
        after = read_panoptic_json((folder / f"{split}.json").read_bytes(), "after")
        assert after.categories == before.categories
        assert len(after.images) == len(before.images) > 0
        for old, new in zip(before.images, after.images, strict=True):
            assert replace(new, panoptic_name=old.panoptic_name) == old
            old_ids = decode_panoptic((root / config.panoptic_dir / old.panoptic_name).read_bytes())
            new_ids = decode_panoptic((folder / split / new.panoptic_name).read_bytes())
            assert old_ids.shape == new_ids.shape and old_ids.tobytes() == new_ids.tobytes()
            crowds += sum(s.is_crowd for s in old.segments)
    return crowds


def test_generated_scenes(tmp_path: Path) -> None:
    from aunet.data.shapes import write_scenes

    write_scenes(tmp_path / "raw", num_train=24, num_val=6, height=64, width=80)
    assert assert_round_trip(tmp_path / "raw", {"train": "train", "val": "val"}, tmp_path / "back") > 0


def test_coco_images(sample_data: Path, tmp_path: Path) -> None:
    names = {"train": "train2017", "val": "val2017"}
    assert assert_round_trip(sample_data / "coco_panoptic_mini", names, tmp_path / "back") > 0
