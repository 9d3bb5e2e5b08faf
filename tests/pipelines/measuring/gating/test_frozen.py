"""The frozen set: an edited annotation is noticed, and so is an image that moved into the training data."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.measuring.gating.frozen import (
    NUM_GOLDEN,
    check_apart,
    check_frozen,
    golden_images,
    moved_into_training,
)
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData
from tests.preparing import config_of, preprocess_here


@pytest.fixture
def config(raw: Path) -> RunConfig:
    return config_of(raw)


def fingerprint(prepared: PreparedData) -> str:
    return Manifest.load(prepared.uri).split_fingerprint("val")


def add_to_training(raw: Path, picture: bytes, suffix: str) -> None:
    """A new training image, annotated as the first one is."""
    path = raw / "annotations/panoptic_train.json"
    document: dict[str, Any] = json.loads(path.read_text())
    image, annotation = document["images"][0], document["annotations"][0]
    name, number = f"moved{suffix}", 9000 + len(document["images"])
    (raw / "train" / name).write_bytes(picture)
    png = raw / "annotations/panoptic_train" / annotation["file_name"]
    (png.parent / f"moved{number}.png").write_bytes(png.read_bytes())
    document["images"].append({**image, "id": number, "file_name": name})
    document["annotations"].append({**annotation, "image_id": number, "file_name": f"moved{number}.png"})
    path.write_text(json.dumps(document))


def saved_again(picture: bytes, quality: int = 80) -> bytes:
    again = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(again, "JPEG", quality=quality)
    return again.getvalue()


def test_what_is_unchanged_is_accepted(config: RunConfig) -> None:
    prepared = preprocess_here(config)
    check_frozen(prepared.uri, fingerprint(prepared))
    assert len(golden_images(prepared.uri)) == min(NUM_GOLDEN, 2)
    with pytest.raises(InputError, match=r"its validation images are \w+, not the frozen set other; restore it"):
        check_frozen(prepared.uri, "other")


def test_one_edited_png_in_the_frozen_set_is_refused(config: RunConfig, tmp_path: Path) -> None:
    prepared = preprocess_here(config)
    validation, reader = fingerprint(prepared), ShardReader(prepared.uri, "val")
    (shard,) = reader.manifest.splits["val"].shards
    path = Path(prepared.uri).parent / "shards" / shard.name
    table = pq.read_table(path)
    png = Image.open(io.BytesIO(table.column("panoptic")[1].as_py())).copy()
    png.putpixel((3, 3), (0, 0, 0))
    edited = io.BytesIO()
    png.save(edited, "PNG")
    data = path.read_bytes()
    old = table.column("panoptic")[1].as_py()
    new = edited.getvalue()[: len(old)].ljust(len(old), b"\0")
    path.write_bytes(data.replace(old, new))
    with pytest.raises(InputError, match=r"the shard is damaged in row 1 \(image \d+\)"):
        check_frozen(prepared.uri, validation)


def test_a_frozen_image_that_moved_into_training_is_noticed(config: RunConfig, raw: Path) -> None:
    frozen = preprocess_here(config)
    assert moved_into_training(frozen.uri, frozen.uri, near=True) == []
    picture = golden_images(frozen.uri)[0]
    add_to_training(raw, picture, Path(ShardReader(frozen.uri, "val").prints()[0].uri).suffix)
    (words,) = moved_into_training(frozen.uri, preprocess_here(config).uri, near=False)
    frozen_id = ShardReader(frozen.uri, "val").image_ids[0]
    assert words.startswith(f"frozen image {frozen_id} is in the training data now: ")
    assert "has the same bytes as moved" in words


def test_a_frozen_image_that_was_saved_again_is_noticed(config: RunConfig, raw: Path) -> None:
    frozen = preprocess_here(config)
    add_to_training(raw, saved_again(golden_images(frozen.uri)[0]), ".jpg")
    prepared = preprocess_here(config)
    (words,) = moved_into_training(frozen.uri, prepared.uri, near=True)
    assert "looks like moved.jpg (" in words and "of 64 bits differ)" in words
    assert moved_into_training(frozen.uri, prepared.uri, near=False) == []


def test_a_training_image_of_the_first_night_may_be_relabelled(config: RunConfig, raw: Path) -> None:
    """It is a near duplicate of a frozen image, which was accepted when the set was frozen."""
    picture = min((raw / "val").iterdir())
    add_to_training(raw, saved_again(picture.read_bytes()), ".jpg")
    frozen = preprocess_here(config)
    path = raw / "annotations/panoptic_train.json"
    document = json.loads(path.read_text())
    kinds = {category["id"]: category["isthing"] for category in document["categories"]}
    segment = document["annotations"][-1]["segments_info"][0]
    segment["category_id"] = next(
        k for k in kinds if k != segment["category_id"] and kinds[k] == kinds[segment["category_id"]]
    )
    path.write_text(json.dumps(document))
    relabelled = preprocess_here(config)
    assert relabelled.fingerprint != frozen.fingerprint
    assert moved_into_training(frozen.uri, relabelled.uri, near=True) == []
    add_to_training(raw, saved_again(picture.read_bytes(), quality=70), ".jpeg")
    with pytest.raises(InputError, match=r"looks like moved.jpeg .*; take it out of the training data, or freeze anew"):
        check_apart(frozen.uri, preprocess_here(config).uri, near=True)


def test_other_new_images_are_welcome(config: RunConfig, raw: Path, pristine: Path) -> None:
    frozen = preprocess_here(config)
    half = replace(config, data=replace(config.data, root=str(raw)))
    path = raw / "annotations/panoptic_train.json"
    document = json.loads(path.read_text())
    document["images"] = document["images"][1:]
    document["annotations"] = document["annotations"][1:]
    path.write_text(json.dumps(document))
    fewer = preprocess_here(half)
    assert moved_into_training(fewer.uri, frozen.uri, near=True) == []
