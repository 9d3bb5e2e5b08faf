"""Generated scenes: always the same, in the right format, and with everything that makes panoptic data hard."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import decode_image, decode_panoptic, measure_segments
from aunet.data.outlines import THINGS, draw_thing, paint_thing
from aunet.data.scenes import MIN_PIXELS, Scene, Split
from aunet.data.shapes import CATEGORIES, make_scene, write_scenes

GOLDEN: dict[tuple[Split, int], str] = {
    ("train", 0): "2129f0a24d519c35",
    ("train", 7): "8dd759d36b2c0af0",
    ("val", 3): "cbc33dddc1a225cc",
}
"""SHA-256 of the pixels and ids of three scenes of seed 0; a new value needs a new `shapes.VERSION`."""


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image.tobytes() + scene.ids.astype("<i4").tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(0, "train", index) for index in range(150)]


@pytest.mark.parametrize(("split", "index"), list(GOLDEN))
def test_scenes_are_the_same_on_every_machine(split: Split, index: int) -> None:
    assert digest(make_scene(0, split, index)) == GOLDEN[split, index]


def test_seed_split_and_index_all_matter() -> None:
    named: list[tuple[int, Split, int]] = [(0, "train", 1), (1, "train", 1), (0, "val", 1), (0, "train", 2)]
    assert len({digest(make_scene(seed, split, index)) for seed, split, index in named}) == 4


def test_segments_are_what_the_ids_show(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (128, 160, 3) and scene.image.dtype == np.uint8
        assert scene.ids.shape == (128, 160) and scene.ids.dtype == np.int32
        assert {s.id: (s.area, s.bbox) for s in scene.segments} == measure_segments(scene.ids)
        assert all(s.area >= MIN_PIXELS and s.category_id in CATEGORIES.by_id for s in scene.segments)


def test_stuff_is_one_segment_per_category(scenes: list[Scene]) -> None:
    for scene in scenes:
        stuff = [s.category_id for s in scene.segments if not CATEGORIES.by_id[s.category_id].is_thing]
        assert len(stuff) == len(set(stuff)) >= 1


def test_scenes_hold_all_that_is_hard(scenes: list[Scene]) -> None:
    seen = {s.category_id for scene in scenes for s in scene.segments}
    assert seen == set(CATEGORIES.by_id)
    things = [[s for s in scene.segments if CATEGORIES.by_id[s.category_id].is_thing] for scene in scenes]
    assert sum(any(s.is_crowd for s in of) for of in things) >= 5, "crowds"
    assert sum(not of for of in things) >= 2, "scenes without things"
    assert sum(bool((scene.ids == 0).any()) for scene in scenes) >= 20, "void"
    assert sum(s.area < 100 for of in things for s in of) >= 20, "small things"
    assert np.mean([len(of) for of in things]) > 3
    assert np.mean([len({s.category_id for s in scene.segments}) for scene in scenes]) > 5


@pytest.mark.parametrize("kind", THINGS)
def test_a_later_thing_occludes_an_earlier_one(kind: str) -> None:
    rng = np.random.default_rng(0)
    picture = np.zeros((80, 80, 3), dtype=np.float32)
    window, covered = paint_thing(picture, draw_thing(rng, kind, 40.0, 40.0, 25.0))
    rows, columns = np.nonzero(covered)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    assert 30 <= extent <= 64, "a thing of radius 25 measures about 50 pixels"
    assert (picture[window][covered].max(axis=1) > 0).all(), "what it covers is painted"


def test_things_may_reach_over_the_border() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.float32)
    thing = draw_thing(np.random.default_rng(0), "ball", 0.0, 63.0, 20.0)
    window, covered = paint_thing(picture, thing)
    assert covered.shape == picture[window].shape[:2] and covered.any()


def test_written_files_read_back_equal(tmp_path: Path) -> None:
    write_scenes(tmp_path, num_train=3, num_val=2, height=96, width=128, seed=5)
    counts: dict[Split, int] = {"train": 3, "val": 2}
    for split, count in counts.items():
        maps = tmp_path / "annotations" / f"panoptic_{split}"
        annotations = read_panoptic_json(maps.with_suffix(".json").read_bytes(), split)
        assert len(annotations.images) == count
        assert annotations.categories == CATEGORIES
        for index, record in enumerate(annotations.images):
            scene = make_scene(5, split, index, 96, 128)
            assert record.segments == scene.segments
            assert np.array_equal(decode_panoptic((maps / record.panoptic_name).read_bytes()), scene.ids)
            image = decode_image((tmp_path / split / record.file_name).read_bytes())
            assert np.abs(image.astype(int) - scene.image).mean() < 4


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scenes(tmp_path / name, num_train=2, num_val=1, height=64, width=64, seed=1)
    files = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("a", "b")]
    assert files[0] == files[1] and len(files[0]) == 8
