"""Scenes with panoptic ground truth, and the comparison of what an importer made with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aunet.categories import Categories
from aunet.data.coco_panoptic import decode_panoptic
from aunet.data.shapes import write_scenes
from pipelines.score import score


@dataclass(frozen=True)
class Sample:
    """One image of the original."""

    name: str
    """Without ending."""
    image: bytes
    ids: np.ndarray
    segments: list[dict[str, Any]]

    def mask(self, segment: dict[str, Any]) -> np.ndarray:
        return self.ids == segment["id"]


@dataclass(frozen=True)
class Original:
    """A COCO panoptic folder."""

    json_path: Path
    maps: Path
    samples: list[Sample]
    categories: Categories
    ending: str = ".jpg"

    @property
    def things(self) -> str:
        """The things that occur."""
        used = {segment["category_id"] for sample in self.samples for segment in sample.segments}
        return ",".join(c.name for c in self.categories.things if c.id in used)


def generated(folder: Path, count: int = 6) -> Original:
    """Generated scenes, things and stuff and crowds and void."""
    write_scenes(folder, num_train=count, num_val=1, height=96, width=128)
    return read_original(folder, "train", "train")


def read_original(folder: Path, split: str, images: str) -> Original:
    json_path, maps = folder / "annotations" / f"panoptic_{split}.json", folder / "annotations" / f"panoptic_{split}"
    document = json.loads(json_path.read_text())
    annotations = {entry["image_id"]: entry for entry in document["annotations"]}
    samples = [
        Sample(
            name=Path(image["file_name"]).stem,
            image=(folder / images / image["file_name"]).read_bytes(),
            ids=decode_panoptic((maps / annotations[image["id"]]["file_name"]).read_bytes()),
            segments=annotations[image["id"]]["segments_info"],
        )
        for image in document["images"]
    ]
    return Original(json_path, maps, samples, Categories.from_json(document["categories"]))


def imported_quality(original: Original, out: Path, split: str = "train") -> dict[str, float]:
    """The metrics of an import against the original; images are matched by name, categories by name."""
    truth = json.loads(original.json_path.read_text())
    made = json.loads((out / "annotations" / f"panoptic_{split}.json").read_text())
    image_id = {stem_of(image["file_name"]): image["id"] for image in truth["images"]}
    new_id = {image["id"]: image_id[stem_of(image["file_name"])] for image in made["images"]}
    by_name = original.categories.by_name
    category = {c["id"]: by_name[c["name"]].id for c in made["categories"] if c["name"] in by_name}
    assert sorted(new_id.values()) == sorted(image_id.values())
    for entry in made["annotations"]:
        entry["image_id"] = new_id[entry["image_id"]]
        entry["segments_info"] = [
            {**segment, "category_id": category[segment["category_id"]]} for segment in entry["segments_info"]
        ]
    renamed = out / "renamed.json"
    renamed.write_text(json.dumps(made))
    maps = out / "annotations" / f"panoptic_{split}"
    return score(original.json_path, original.maps, renamed, maps).metrics


def stem_of(name: str) -> str:
    return Path(name).stem.removesuffix("_leftImg8bit")


def assert_equal_pixels(original: Original, out: Path, split: str = "train") -> None:
    """Every pixel of the import has the category, and every segment the pixels, of the original."""
    made = json.loads((out / "annotations" / f"panoptic_{split}.json").read_text())
    names = {c["id"]: c["name"] for c in made["categories"]}
    files = {entry["id"]: stem_of(entry["file_name"]) for entry in made["images"]}
    annotations = {files[entry["image_id"]]: entry for entry in made["annotations"]}
    for sample in original.samples:
        entry = annotations[sample.name]
        ids = decode_panoptic((out / "annotations" / f"panoptic_{split}" / entry["file_name"]).read_bytes())
        expected = {
            (original.categories.by_id[s["category_id"]].name, s["iscrowd"], sample.mask(s).tobytes())
            for s in sample.segments
        }
        assert {
            (names[s["category_id"]], s["iscrowd"], (ids == s["id"]).tobytes()) for s in entry["segments_info"]
        } == expected
